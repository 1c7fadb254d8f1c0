import { describe, expect, it } from 'vitest';
import { initials } from './avatar';
import { splitMatches, splitPhoneTail } from './highlight';

describe('splitMatches', () => {
  it.each([
    ['杭州示例科技', '示例', ['杭州', '示例', '科技']],
    ['ＡＣＭＥ Acme', 'acme', ['', 'ＡＣＭＥ', ' ', 'Acme', '']],
    ['Nordwind', '', ['Nordwind']],
    ['Nordwind', 'süd', ['Nordwind']],
    ['㈱示例', '株', ['㈱示例']],
  ])('%s by %s', (text, query, parts) => expect(splitMatches(text, query)).toEqual(parts));
});

describe('splitPhoneTail', () => {
  it.each([
    ['0571-8888 6666', '6666', ['0571-8888 ', '6666', '']],
    ['0571-8888 6666', '88-6666', ['0571-88', '88 6666', '']],
    ['0571-8888 6666', '8888', ['0571-8888 6666']],
    ['0571-8888 6666', '666', ['0571-8888 6666']],
  ])('%s by %s', (phone, query, parts) => expect(splitPhoneTail(phone, query)).toEqual(parts));
});

describe('initials', () => {
  it.each([
    ['王芳', '王芳'],
    ['欧阳建国', '建国'],
    ['Marta Kowalska', 'MK'],
    ['prince', 'PR'],
  ])('%s is %s', (name, letters) => expect(initials(name)).toBe(letters));
});
