import { expect, it } from 'vitest';
import { passwordStrength } from './password';

it.each([
  ['', { level: 'short', missing: 8 }],
  ['密码要够长', { level: 'short', missing: 3 }],
  ['aaaaaaaaaaaa', { level: 'weak' }],
  ['12345678', { level: 'weak' }],
  ['kqpvhzmx', { level: 'weak' }],
  ['correct horse', { level: 'fair' }],
  ['correct horse battery', { level: 'strong' }],
  ['湖光秋月两相和呀', { level: 'strong' }],
  ['Tq8#mzK2', { level: 'fair' }],
])('%s', (password, strength) => expect(passwordStrength(password)).toEqual(strength));
