import { expect, it } from 'vitest';
import { uuidv7 } from './uuid';

it('writes time, version and variant where RFC 9562 puts them', () => {
  expect(uuidv7(0x017f22e279b0, new Uint8Array(10).fill(0xff))).toBe('017f22e2-79b0-7fff-bfff-ffffffffffff');
  expect(uuidv7(0, new Uint8Array(10))).toBe('00000000-0000-7000-8000-000000000000');
  expect(uuidv7()).not.toBe(uuidv7());
});
