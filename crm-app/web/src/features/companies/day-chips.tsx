import { useT } from '../../i18n/context';
import { addDays } from '../../i18n/format';
import { cx } from '../../ui/class-names';
import { useSignedIn } from '../session/session';
import { due } from './due';

const STEPS_DAYS = [1, 3, 7, 30];

/** The usual answers to "when next?", one touch each. Touching the chosen one again takes it back. */
export function DayChips({ value, onChange }: { value: string; onChange: (day: string) => void }) {
  const t = useT();
  const { format } = useSignedIn();
  const today = format.dayOf(new Date());
  return (
    <span className="flex flex-wrap gap-2 pt-1">
      {STEPS_DAYS.map((days) => {
        const day = addDays(today, days);
        const isChosen = day === value;
        return (
          <button
            key={days}
            type="button"
            aria-pressed={isChosen}
            onClick={() => onChange(isChosen ? '' : day)}
            className={cx(
              'min-h-11 rounded-full border px-3 text-13 desk:min-h-7',
              isChosen ? 'border-accent bg-tint font-semibold text-accent' : 'border-line text-ink hover:bg-wash',
            )}
          >
            {due(day, today, t).text}
          </button>
        );
      })}
    </span>
  );
}
