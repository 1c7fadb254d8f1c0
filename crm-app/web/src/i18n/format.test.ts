import { describe, expect, it } from 'vitest';
import { addDays, daysBetween, formatter } from './format';

const shanghai = formatter('zh-CN', 'Asia/Shanghai', 'CNY');
const newYork = formatter('en', 'America/New_York', 'USD');

describe('formatter', () => {
  it('lets the workspace’s zone decide which day it is', () => {
    const evening = new Date('2026-11-22T16:30:00Z');
    expect(shanghai.dayOf(evening)).toBe('2026-11-23');
    expect(newYork.dayOf(evening)).toBe('2026-11-22');
  });

  it('never moves a calendar day', () => {
    expect(shanghai.day('2026-03-01')).toBe('2026年3月1日');
    expect(newYork.day('2026-03-01')).toBe('Mar 1, 2026');
  });

  it('leaves out the year when that is this year', () => {
    expect(shanghai.dayBrief('2026-03-01', '2026-11-22')).toBe('3月1日');
    expect(shanghai.dayBrief('2025-03-01', '2026-11-22')).toBe('2025年3月1日');
  });

  it('says the time for today and the day otherwise', () => {
    const now = new Date('2026-11-22T08:00:00Z');
    expect(shanghai.brief('2026-11-22T06:05:00Z', now)).toBe('14:05');
    expect(shanghai.brief('2026-11-21T06:05:00Z', now)).toBe('11月21日');
    expect(shanghai.heading('2026-11-21T06:05:00Z', now)).toBe('11月21日 周六');
    expect(newYork.heading('2026-11-21T06:05:00Z', now)).toBe('Sat, Nov 21');
  });

  it('shows every digit of an amount, and a short form beside it', () => {
    expect(shanghai.money('9007199254740993.55')).toBe('¥9,007,199,254,740,993.55');
    expect(shanghai.money('1200000.00')).toBe('¥1,200,000');
    expect(shanghai.moneyBrief('1200000.00')).toBe('¥120万');
    expect(newYork.moneyBrief('1200000.00')).toBe('$1.2M');
  });
});

describe('calendar days', () => {
  it('are counted across months and summer time', () => {
    expect(addDays('2026-02-27', 3)).toBe('2026-03-02');
    expect(daysBetween('2026-03-28', '2026-03-30')).toBe(2);
    expect(daysBetween('2026-11-22', '2026-11-19')).toBe(-3);
  });
});
