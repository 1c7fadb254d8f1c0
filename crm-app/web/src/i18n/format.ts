/** Dates, amounts and instants as the workspace writes them: its time zone decides what "today" is. */
import type { Locale } from './index';

export interface Format {
  /** A calendar day, `2026-11-22`. */
  day: (day: string) => string;
  /** A calendar day in few words: without the year when that is this year. */
  dayBrief: (day: string, today: string) => string;
  /** An instant with its time. */
  instant: (iso: string) => string;
  /** An instant in few words: the time today, else the day. */
  brief: (iso: string, now: Date) => string;
  /** The calendar day of an instant with its weekday, as a heading. */
  heading: (iso: string, now: Date) => string;
  time: (iso: string) => string;
  /** Exact amount; takes the decimal string of the API, so that no digit is lost. */
  money: (amount: string) => string;
  /** Amount to grasp at a glance: 万 and 亿, or M and B. */
  moneyBrief: (amount: string) => string;
  /** The workspace's calendar day at an instant, `2026-11-22`. */
  dayOf: (instant: Date) => string;
}

export function formatter(locale: Locale, timeZone: string, currency: string): Format {
  const dayParts = { year: 'numeric', month: 'short', day: 'numeric' } as const;
  // A calendar day has no zone. It is read and written in UTC so that no zone can move it.
  const day = new Intl.DateTimeFormat(locale, { ...dayParts, timeZone: 'UTC' });
  const dayThisYear = new Intl.DateTimeFormat(locale, { month: 'short', day: 'numeric', timeZone: 'UTC' });
  const weekday = new Intl.DateTimeFormat(locale, { weekday: 'short', timeZone });
  const zonedTime = new Intl.DateTimeFormat(locale, { hour: '2-digit', minute: '2-digit', hourCycle: 'h23', timeZone });
  const instant = new Intl.DateTimeFormat(locale, { ...dayParts, hour: '2-digit', minute: '2-digit', hourCycle: 'h23', timeZone });
  const money = new Intl.NumberFormat(locale, { style: 'currency', currency, trailingZeroDisplay: 'stripIfInteger' });
  const moneyBrief = new Intl.NumberFormat(locale, {
    style: 'currency',
    currency,
    notation: 'compact',
    maximumFractionDigits: 1,
    minimumFractionDigits: 0,
  });
  const isoDay = new Intl.DateTimeFormat('en-CA', { year: 'numeric', month: '2-digit', day: '2-digit', timeZone });
  const dayOf = (date: Date) => isoDay.format(date);
  const asDate = (value: string) => new Date(`${value}T00:00:00Z`);
  const dayBrief = (value: string, today: string) =>
    (value.slice(0, 4) === today.slice(0, 4) ? dayThisYear : day).format(asDate(value));

  return {
    day: (value) => day.format(asDate(value)),
    dayBrief,
    instant: (iso) => instant.format(new Date(iso)),
    brief: (iso, now) => {
      const date = new Date(iso);
      return dayOf(date) === dayOf(now) ? zonedTime.format(date) : dayBrief(dayOf(date), dayOf(now));
    },
    heading: (iso, now) => {
      const date = new Date(iso);
      const parts = [dayBrief(dayOf(date), dayOf(now)), weekday.format(date)];
      return locale === 'zh-CN' ? parts.join(' ') : parts.reverse().join(', ');
    },
    time: (iso) => zonedTime.format(new Date(iso)),
    money: (amount) => money.format(amount as Intl.StringNumericLiteral),
    moneyBrief: (amount) => moneyBrief.format(amount as Intl.StringNumericLiteral),
    dayOf,
  };
}

/** The calendar day that many days later. */
export function addDays(day: string, days: number): string {
  return new Date(Date.parse(`${day}T00:00:00Z`) + days * 86_400_000).toISOString().slice(0, 10);
}

/** Whole days from one calendar day to another; negative when `to` lies before `from`. */
export function daysBetween(from: string, to: string): number {
  return Math.round((Date.parse(`${to}T00:00:00Z`) - Date.parse(`${from}T00:00:00Z`)) / 86_400_000);
}
