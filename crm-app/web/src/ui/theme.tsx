import { createContext, use, useEffect, useMemo, useState, type ReactNode } from 'react';
import { useMediaQuery } from './hooks';
import { readStored, writeStored } from './storage';

export type ThemeChoice = 'light' | 'dark' | 'system';

interface Theme {
  choice: ThemeChoice;
  choose: (choice: ThemeChoice) => void;
}

const PAPER = { light: '#FAFAF8', dark: '#15191C' };
const ThemeContext = createContext<Theme>({ choice: 'system', choose: () => {} });

export function useTheme(): Theme {
  return use(ThemeContext);
}

/** Keeps the page in the chosen theme, or in the system's as it changes with the evening. */
export function ThemeProvider({ children }: { children: ReactNode }) {
  const [choice, setChoice] = useState(storedChoice);
  const systemIsDark = useMediaQuery('(prefers-color-scheme: dark)');
  const shown = choice === 'system' ? (systemIsDark ? 'dark' : 'light') : choice;

  useEffect(() => {
    document.documentElement.dataset['theme'] = shown;
    // The browser's own frame follows the choice, not only the system.
    for (const meta of document.querySelectorAll('meta[name=theme-color]')) meta.setAttribute('content', PAPER[shown]);
  }, [shown]);

  const value = useMemo<Theme>(
    () => ({
      choice,
      choose: (next) => {
        writeStored('theme', next === 'system' ? null : next);
        setChoice(next);
      },
    }),
    [choice],
  );
  return <ThemeContext value={value}>{children}</ThemeContext>;
}

function storedChoice(): ThemeChoice {
  const stored = readStored('theme');
  return stored === 'light' || stored === 'dark' ? stored : 'system';
}
