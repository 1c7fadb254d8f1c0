import { CircleAlert } from 'lucide-react';
import { useT } from '../../i18n/context';
import { cx } from '../../ui/class-names';
import { useSignedIn } from '../session/session';
import { due } from './due';

/** The planned day; overdue is said by colour, sign and word. */
export function NextContact({ day, isBrief = false }: { day: string; isBrief?: boolean }) {
  const t = useT();
  const { format } = useSignedIn();
  const today = format.dayOf(new Date());
  const { isOverdue, text } = due(day, today, t);
  return (
    <span className={cx('inline-flex items-center gap-1 whitespace-nowrap', isOverdue && 'text-seal')}>
      {isOverdue ? <CircleAlert aria-hidden className="size-3.5 shrink-0" /> : null}
      {isBrief ? null : <time dateTime={day}>{format.dayBrief(day, today)}</time>}
      {isBrief ? text : <span className={isOverdue ? '' : 'text-muted'}>{`· ${text}`}</span>}
    </span>
  );
}
