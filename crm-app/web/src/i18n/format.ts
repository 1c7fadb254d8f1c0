/** Dates, amounts and instants as the workspace writes them: its time zone decides what "today" is. */
import type { Locale } from './index';

export interface Format {
  /** A calendar day, `2026-11-22`. */
  day: (day: string) => string;
  /** An instant with its time. */
  instant: (iso: string) => string;
  /** An instant in few words: the time today, else the day. */
  brief: (iso: string, now: Date) => string;
  /** The calendar day of an instant, as a heading. */
  heading: (iso: string) => string;
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
  const zonedDay = new Intl.DateTimeFormat(locale, { ...dayParts, timeZone });
  const zonedTime = new Intl.DateTimeFormat(locale, { hour: '2-digit', minute: '2-digit', hourCycle: 'h23', timeZone });
  const heading = new Intl.DateTimeFormat(locale, { ...dayParts, weekday: 'short', timeZone });
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

  return {
    day: (value) => day.format(new Date(`${value}T00:00:00Z`)),
    instant: (iso) => instant.format(new Date(iso)),
    brief: (iso, now) => {
      const date = new Date(iso);
      return dayOf(date) === dayOf(now) ? zonedTime.format(date) : zonedDay.format(date);
    },
    heading: (iso) => heading.format(new Date(iso)),
    time: (iso) => zonedTime.format(new Date(iso)),
    money: (amount) => money.format(amount as Intl.StringNumericLiteral),
    moneyBrief: (amount) => moneyBrief.format(amount as Intl.StringNumericLiteral),
    dayOf,
  };
}

/** Whole days from one calendar day to another; negative when `to` lies before `from`. */
export function daysBetween(from: string, to: string): number {
  return Math.round((Date.parse(`${to}T00:00:00Z`) - Date.parse(`${from}T00:00:00Z`)) / 86_400_000);
}
