import { describe, expect, it } from 'vitest';
import type { Company } from '../../api/types';
import { translator } from '../../i18n';
import { parseAmount } from './amount';
import { due } from './due';
import { checkDraft, draftOf, emptyDraft, patchOf, valuesOf } from './fields';
import { readListState, writeListState } from './list-state';
import { merge, resolve } from './merge';

const company = (fields: Partial<Company> = {}): Company => ({
  id: '1',
  version: 1,
  name: '杭州示例科技有限公司',
  createdAt: '2026-11-01T00:00:00Z',
  updatedAt: '2026-11-01T00:00:00Z',
  ...fields,
});

describe('parseAmount', () => {
  it.each([
    ['1200000', '1200000'],
    ['1,200.50', '1200.5'],
    ['120万', '1200000'],
    ['1.5亿', '150000000'],
    ['¥ 3.25 万元', '32500'],
    ['１２万', '120000'],
    ['1.2M', '1200000'],
    ['0.1', '0.1'],
    ['9007199254740993.55', '9007199254740993.55'],
  ])('%s is %s', (text, amount) => expect(parseAmount(text)).toBe(amount));

  it.each(['', 'abc', '-5', '1.2.3', '12千', '1e5'])('%s is no amount', (text) => expect(parseAmount(text)).toBeNull());
});

describe('a draft', () => {
  it('is sent trimmed, with nothing for what is empty', () => {
    expect(valuesOf({ ...emptyDraft(' 示例 '), annualRevenue: '120万', phone: ' ' })).toMatchObject({
      name: '示例',
      annualRevenue: '1200000',
      phone: null,
    });
  });

  it('sends only what changed, and an amount written differently is no change', () => {
    const base = company({ annualRevenue: '1200000.00', phone: '110' });
    expect(patchOf(base, draftOf(base))).toEqual({});
    expect(patchOf(base, { ...draftOf(base), annualRevenue: '120万', phone: '', industry: '软件' })).toEqual({
      phone: null,
      industry: '软件',
    });
  });

  it('is checked before the server is asked', () => {
    expect(checkDraft(emptyDraft())).toEqual({ name: 'required' });
    const wrong = { ...emptyDraft('x'), email: 'x@y', phone: 'call me', uscc: '123', annualRevenue: 'viel' };
    expect(checkDraft(wrong)).toEqual({ email: 'format', phone: 'format', uscc: 'format', annualRevenue: 'format' });
    expect(checkDraft({ ...emptyDraft('x'), phone: '（0571）8888 6666', email: 'a@b.cn' })).toEqual({});
  });
});

describe('merge', () => {
  const base = company({ address: '旧址', industry: '贸易' });

  it('keeps changes of different fields', () => {
    const theirs = company({ ...base, version: 2, industry: '软件' });
    expect(merge(base, theirs, { address: '新址' })).toEqual({ patch: { address: '新址' }, conflicts: [] });
  });

  it('has nothing to do where both wrote the same', () => {
    const theirs = company({ ...base, version: 2, address: '新址' });
    expect(merge(base, theirs, { address: '新址' })).toEqual({ patch: {}, conflicts: [] });
  });

  it('asks where both changed one field, and sends what was chosen', () => {
    const theirs = company({ ...base, version: 2, address: '他们的', industry: null });
    const merged = merge(base, theirs, { address: '我的', industry: '软件', phone: '110' });
    expect(merged.conflicts).toEqual([
      { field: 'address', original: '旧址', theirs: '他们的', mine: '我的' },
      { field: 'industry', original: '贸易', theirs: null, mine: '软件' },
    ]);
    expect(resolve(merged, { address: 'theirs', industry: 'mine' })).toEqual({ phone: '110', industry: '软件' });
  });
});

describe('due', () => {
  const t = translator('en');
  it.each([
    ['2026-11-19', '3 days overdue', true],
    ['2026-11-22', 'today', false],
    ['2026-11-23', 'tomorrow', false],
    ['2026-12-22', 'in 30 days', false],
  ])('%s is %s', (day, text, isOverdue) => expect(due(day, '2026-11-22', t)).toEqual({ text, isOverdue }));
});

describe('the list’s address', () => {
  it('says what is not usual, and reads it back', () => {
    expect(writeListState({ q: '', sort: '-updatedAt' })).toBe('/companies');
    const address = writeListState({ q: '示例 a&b', sort: 'name' });
    expect(readListState(address.slice(address.indexOf('?')))).toEqual({ q: '示例 a&b', sort: 'name' });
    expect(readListState('?sort=nonsense')).toEqual({ q: '', sort: '-updatedAt' });
  });
});
