import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { MESSAGES, translator, type Key, type Message } from './index';

const keys = Object.keys(MESSAGES['zh-CN']) as Key[];
const forms = (message: Message) => (typeof message === 'string' ? [message] : Object.values(message));
const places = (text: string) => [...new Set(text.match(/\{\w+\}/g) ?? [])].sort().join(' ');

describe('messages', () => {
  it('have the same keys in both languages', () => {
    expect(Object.keys(MESSAGES.en).sort()).toEqual([...keys].sort());
  });

  it('have words and the same places in both languages', () => {
    const differing = keys.filter((key) => {
      const texts = [...forms(MESSAGES['zh-CN'][key]), ...forms(MESSAGES.en[key])];
      return texts.some((text) => text.trim() === '' || places(text) !== places(texts[0] ?? ''));
    });
    expect(differing).toEqual([]);
  });

  it('are all used', () => {
    const source = sources('src').join('\n');
    // `t(\`error.${type}\`)`: the part before the placeholder stands for all keys that begin with it.
    const prefixes = [...source.matchAll(/`([a-z][\w.]*\.)\$\{/gi)].map(([, prefix]) => prefix ?? '');
    const unused = keys.filter((key) => !source.includes(`'${key}'`) && !prefixes.some((prefix) => key.startsWith(prefix)));
    expect(unused).toEqual([]);
  });
});

describe('translator', () => {
  it('fills in places and chooses the plural', () => {
    const t = translator('en');
    expect(t('companies.created', { name: 'Nordwind' })).toBe('Created “Nordwind”');
    expect(t('companies.count.all', { count: 1 })).toBe('1 company');
    expect(t('companies.count.all', { count: 1200 })).toBe('1,200 companies');
    expect(translator('zh-CN')('companies.count.all', { count: 1 })).toBe('共 1 家');
  });
});

function sources(directory: string): string[] {
  return readdirSync(directory, { recursive: true, encoding: 'utf8' })
    .filter((file) => /\.tsx?$/.test(file) && !/(zh-CN|en|\.test)\.tsx?$/.test(file))
    .map((file) => readFileSync(join(directory, file), 'utf8'));
}
