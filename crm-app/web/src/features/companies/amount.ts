/** Amounts as people type them, without ever going through floating point. */

const SHIFTS: Record<string, number> = { '': 0, k: 3, 万: 4, m: 6, 亿: 8, b: 9 };

/** `120万` → `1200000`, `1,200.50` → `1200.50`, `¥1.5亿` → `150000000`; null when it is no amount. */
export function parseAmount(text: string): string | null {
  const plain = text.normalize('NFKC').replace(/[\s,_]/g, '').replace(/^[¥$€£]|元$/g, '').toLowerCase();
  const match = /^(\d+)(?:\.(\d+))?(k|万|m|亿|b)?$/.exec(plain);
  if (match === null) return null;
  const [, whole = '', fraction = '', unit = ''] = match;
  const shift = SHIFTS[unit] ?? 0;
  const padded = fraction.padEnd(shift, '0');
  const digits = (whole + padded.slice(0, shift)).replace(/^0+(?=\d)/, '');
  const rest = padded.slice(shift).replace(/0+$/, '');
  return rest === '' ? digits : `${digits}.${rest}`;
}
