import { LOCALES } from '../../i18n';
import { useI18n } from '../../i18n/context';
import { cx } from '../../ui/class-names';
import { Seal } from '../../ui/seal';
import type { ReactNode } from 'react';

/** The page before one is in: the seal, one quiet column, the language at the foot. */
export function SessionFrame({ children }: { children: ReactNode }) {
  return (
    <div className="flex min-h-dvh flex-col bg-paper">
      <main className="mx-auto flex w-full max-w-[360px] flex-1 flex-col px-6 pt-[max(40px,16dvh)] pb-10 desk:px-0">
        <Seal className="mb-6 size-10" />
        {children}
      </main>
      <LanguageSwitch />
    </div>
  );
}

function LanguageSwitch() {
  const { locale, chooseLocale } = useI18n();
  return (
    <footer className="flex justify-center gap-2 px-6 pb-[max(24px,env(safe-area-inset-bottom))]">
      {LOCALES.map((option) => (
        <button
          key={option.value}
          type="button"
          lang={option.value}
          aria-pressed={option.value === locale}
          onClick={() => chooseLocale(option.value)}
          className={cx(
            'min-h-11 rounded-md px-3 text-13 hover:bg-wash desk:min-h-8',
            option.value === locale ? 'font-semibold text-ink' : 'text-muted',
          )}
        >
          {option.label}
        </button>
      ))}
    </footer>
  );
}
