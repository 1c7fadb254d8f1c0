/** Words in both languages. Small on purpose: typed keys, `{name}` places and plurals are all that the app needs. */
import { en } from './en';
import { zhCN } from './zh-CN';

export type Locale = 'zh-CN' | 'en';
export type Key = keyof typeof zhCN;
export type Message = string | { one?: string; other: string };
export type Messages = Record<Key, Message>;
export type Params = Record<string, string | number>;
export type Translate = (key: Key, params?: Params) => string;

export const LOCALES: readonly { value: Locale; label: string }[] = [
  { value: 'zh-CN', label: '简体中文' },
  { value: 'en', label: 'English' },
];

export const MESSAGES: Record<Locale, Messages> = { 'zh-CN': zhCN, en };

export function isLocale(value: unknown): value is Locale {
  return value === 'zh-CN' || value === 'en';
}

/** Translations of one language. A message with plural forms chooses by the parameter `count`. */
export function translator(locale: Locale): Translate {
  const messages = MESSAGES[locale];
  const plurals = new Intl.PluralRules(locale);
  const numbers = new Intl.NumberFormat(locale);
  return (key, params = {}) => {
    const message = messages[key];
    const text = typeof message === 'string' ? message : pluralForm(message, plurals, params['count']);
    return text.replace(/\{(\w+)\}/g, (place, name: string) => {
      const value = params[name];
      if (value === undefined) return place;
      return typeof value === 'number' ? numbers.format(value) : value;
    });
  };
}

function pluralForm(message: { one?: string; other: string }, plurals: Intl.PluralRules, count: unknown): string {
  const isOne = typeof count === 'number' && plurals.select(count) === 'one';
  return isOne && message.one !== undefined ? message.one : message.other;
}
