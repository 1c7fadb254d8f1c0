import { useShortcut } from '../../ui/shortcuts';

/** J and K move the focus along the rows; Enter opens, as on any link. */
export function useRowKeys(): void {
  useShortcut('j', () => moveFocus(1));
  useShortcut('k', () => moveFocus(-1));
}

function moveFocus(step: 1 | -1): void {
  const rows = [...document.querySelectorAll<HTMLElement>('[data-row]')];
  const at = rows.findIndex((row) => row === document.activeElement);
  const next = at === -1 ? (step === 1 ? 0 : rows.length - 1) : at + step;
  rows[next]?.focus();
}
