import { Component, type ReactNode } from 'react';
import { useT } from '../../i18n/context';
import { Button } from '../../ui/button';
import { EmptyState } from '../../ui/feedback';

/** The last resort: a page that could not be drawn says so and offers to reload. */
export class CrashBoundary extends Component<{ children: ReactNode }, { hasCrashed: boolean }> {
  override state = { hasCrashed: false };

  static getDerivedStateFromError(): { hasCrashed: boolean } {
    return { hasCrashed: true };
  }

  override render(): ReactNode {
    return this.state.hasCrashed ? <Crashed /> : this.props.children;
  }
}

function Crashed() {
  const t = useT();
  return (
    <main role="alert" className="pt-10">
      <EmptyState
        title={t('error.crash.title')}
        text={t('error.crash.text')}
        action={<Button onClick={() => window.location.reload()}>{t('action.reload')}</Button>}
      />
    </main>
  );
}
