import { daysBetween } from '../../i18n/format';
import type { Translate } from '../../i18n';

export interface Due {
  isOverdue: boolean;
  text: string;
}

/** How far off a planned day is, in words. Both are calendar days of the workspace. */
export function due(day: string, today: string, t: Translate): Due {
  const days = daysBetween(today, day);
  if (days < 0) return { isOverdue: true, text: t('due.overdue', { count: -days }) };
  if (days === 0) return { isOverdue: false, text: t('due.today') };
  if (days === 1) return { isOverdue: false, text: t('due.tomorrow') };
  return { isOverdue: false, text: t('due.inDays', { count: days }) };
}
