import { createContext, use, useEffect, useMemo, useState, type ReactNode } from 'react';
import { readStored, writeStored } from '../ui/storage';
import { isLocale, translator, type Locale, type Translate } from './index';

interface I18n {
  t: Translate;
  locale: Locale;
  /** The person's own choice; it stays on this device. */
  chooseLocale: (locale: Locale) => void;
  /** What the server suggests; heard only while the person has not chosen. */
  suggestLocale: (locale: string) => void;
}

const I18nContext = createContext<I18n | null>(null);

export function useI18n(): I18n {
  const value = use(I18nContext);
  if (value === null) throw new Error('useI18n outside of I18nProvider');
  return value;
}

export function useT(): Translate {
  return useI18n().t;
}

export function I18nProvider({ children }: { children: ReactNode }) {
  const [chosen, setChosen] = useState(storedLocale);
  const [suggested, setSuggested] = useState(browserLocale);
  const locale = chosen ?? suggested;

  useEffect(() => {
    document.documentElement.lang = locale;
  }, [locale]);

  const value = useMemo<I18n>(
    () => ({
      t: translator(locale),
      locale,
      chooseLocale: (next) => {
        writeStored('locale', next);
        setChosen(next);
      },
      suggestLocale: (next) => {
        if (isLocale(next)) setSuggested(next);
      },
    }),
    [locale],
  );
  return <I18nContext value={value}>{children}</I18nContext>;
}

function storedLocale(): Locale | null {
  const stored = readStored('locale');
  return isLocale(stored) ? stored : null;
}

function browserLocale(): Locale {
  return navigator.language.toLowerCase().startsWith('zh') ? 'zh-CN' : 'en';
}
