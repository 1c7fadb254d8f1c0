import type { Level } from '../../api/types';
import { useT } from '../../i18n/context';
import { cx } from '../../ui/class-names';

/** A small letter in a box; the most important is the darkest. */
export function LevelMark({ level }: { level: Level }) {
  const t = useT();
  return (
    <span
      title={t(`company.level.${level}`)}
      className={cx(
        'inline-flex size-5 shrink-0 items-center justify-center rounded-[4px] border align-middle text-12 leading-none',
        level === 'A' ? 'border-ink font-semibold text-ink' : 'border-line text-muted',
      )}
    >
      {level}
    </span>
  );
}
