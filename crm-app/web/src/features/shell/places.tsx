import { Compass, WifiOff } from 'lucide-react';
import { Link } from 'wouter';
import { isProblem } from '../../api/problem';
import { useT } from '../../i18n/context';
import { Button } from '../../ui/button';
import { EmptyState } from '../../ui/feedback';
import { useDocumentTitle } from '../../ui/hooks';
import { Seal } from '../../ui/seal';
import { errorText } from './error-text';

/** While we ask who this is: the seal, and a word for screen readers. */
export function Opening() {
  const t = useT();
  return (
    <main className="flex min-h-dvh items-center justify-center">
      <Seal className="size-10" />
      <p role="status" className="sr-only">
        {t('app.loading')}
      </p>
    </main>
  );
}

/** The app is here, the server is not. */
export function Offline({ error, isRetrying, onRetry }: { error: unknown; isRetrying: boolean; onRetry: () => void }) {
  const t = useT();
  const isOffline = isProblem(error, 'offline');
  useDocumentTitle(t('offline.title'));
  return (
    <div role="status" className="pt-10">
      <EmptyState
        icon={<WifiOff aria-hidden className="size-8" strokeWidth={1.5} />}
        title={isOffline ? t('offline.title') : errorText(error, t)}
        text={isOffline ? t('offline.text') : undefined}
        action={
          <Button busy={isRetrying} onClick={onRetry}>
            {t('action.retry')}
          </Button>
        }
      />
    </div>
  );
}

export function NotFound() {
  const t = useT();
  useDocumentTitle(t('notFound.title'));
  return (
    <EmptyState
      icon={<Compass aria-hidden className="size-8" strokeWidth={1.5} />}
      title={t('notFound.title')}
      text={t('notFound.text')}
      action={
        <Link href="/companies" className="text-accent hover:underline">
          {t('companies.toList')}
        </Link>
      }
    />
  );
}
