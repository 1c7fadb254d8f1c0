import { QueryClientProvider } from '@tanstack/react-query';
import { CrashBoundary } from './features/shell/crash-boundary';
import { UpdatePrompt } from './features/shell/update-prompt';
import { I18nProvider } from './i18n/context';
import { makeQueryClient } from './query-client';
import { Routes } from './routes';
import { ThemeProvider } from './ui/theme';
import { ToastProvider } from './ui/toast';

const client = makeQueryClient();

export function App() {
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
