import { useT } from '../../i18n/context';
import type { Key } from '../../i18n';
import { Dialog, DialogBody } from '../../ui/dialog';

const SHORTCUTS: readonly [Key, readonly string[]][] = [
  ['shortcuts.search', ['/']],
  ['shortcuts.create', ['C']],
  ['shortcuts.edit', ['E']],
  ['shortcuts.move', ['J', 'K']],
  ['shortcuts.save', ['Ctrl', 'Enter']],
  ['shortcuts.cancel', ['Esc']],
  ['shortcuts.help', ['?']],
];

export default function ShortcutSheet({ onClose }: { onClose: () => void }) {
  const t = useT();
  return (
    <Dialog title={t('shortcuts.title')} closeLabel={t('action.close')} onClose={onClose}>
      <DialogBody>
        <dl className="grid grid-cols-[1fr_auto] gap-y-3">
          {SHORTCUTS.map(([label, keys]) => (
            <div key={label} className="contents">
              <dt>{t(label)}</dt>
              <dd className="flex justify-end gap-1">
                {keys.map((key) => (
                  <kbd
                    key={key}
                    className="inline-flex h-6 min-w-6 items-center justify-center rounded-md border border-line bg-paper px-2 font-sans text-12 text-muted"
                  >
                    {key}
                  </kbd>
                ))}
              </dd>
            </div>
          ))}
        </dl>
      </DialogBody>
    </Dialog>
  );
}
