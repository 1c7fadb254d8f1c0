import { useEffect, useRef, useState } from 'react';
import { registerSW } from 'virtual:pwa-register';
import { useT } from '../../i18n/context';
import { Button } from '../../ui/button';

const CHECK_MS = 30 * 60_000;

/** Keeps the shell for use without network, and offers a new version when there is one. */
export function UpdatePrompt() {
  const t = useT();
  const [isReady, setIsReady] = useState(false);
  const reloadInto = useRef<(() => Promise<void>) | null>(null);

  useEffect(() => {
    let timer: ReturnType<typeof setInterval> | undefined;
    reloadInto.current = registerSW({
      onNeedRefresh: () => setIsReady(true),
      onRegisteredSW: (_url, registration) => {
        if (registration === undefined) return;
        // People leave the app open for days; the browser alone would only look on navigation.
        timer = setInterval(() => void registration.update().catch(() => undefined), CHECK_MS);
      },
    });
    return () => clearInterval(timer);
  }, []);

  if (!isReady) return null;
  return (
    <div
      role="status"
      className="toast fixed inset-x-4 bottom-[calc(72px+env(safe-area-inset-bottom))] z-30 mx-auto flex w-fit items-center gap-2 rounded-md border border-line bg-surface py-2 pr-2 pl-4 shadow-float desk:bottom-6"
    >
      <span className="mr-2">{t('update.text')}</span>
      <Button variant="primary" onClick={() => void reloadInto.current?.()}>
        {t('update.action')}
      </Button>
      <Button variant="quiet" onClick={() => setIsReady(false)}>
        {t('update.later')}
      </Button>
    </div>
  );
}
