import { QueryClientProvider } from '@tanstack/react-query';
import { useState } from 'react';
import { CrashBoundary } from './features/shell/crash-boundary';
import { UpdatePrompt } from './features/shell/update-prompt';
import { I18nProvider } from './i18n/context';
import { makeQueryClient } from './query-client';
import { Routes } from './routes';
import { ThemeProvider } from './ui/theme';
import { ToastProvider } from './ui/toast';

export function App() {
  const [client] = useState(makeQueryClient);
  return (
    <I18nProvider>
      <CrashBoundary>
        <QueryClientProvider client={client}>
          <ThemeProvider>
            <ToastProvider>
              <Routes />
              <UpdatePrompt />
            </ToastProvider>
          </ThemeProvider>
        </QueryClientProvider>
      </CrashBoundary>
    </I18nProvider>
  );
}
