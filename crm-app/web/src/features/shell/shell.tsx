import { Building2, UsersRound, type LucideIcon } from 'lucide-react';
import { lazy, Suspense, useState, type ReactNode } from 'react';
import { Link, useRoute } from 'wouter';
import { useT } from '../../i18n/context';
import type { Key } from '../../i18n';
import { Banner } from '../../ui/feedback';
import { cx } from '../../ui/class-names';
import { useOnline } from '../../ui/hooks';
import { Seal } from '../../ui/seal';
import { useShortcut } from '../../ui/shortcuts';
import { useSignedIn } from '../session/session';
import { AccountButton } from './account-button';
import { usePageMemory } from './page-memory';

const ShortcutSheet = lazy(() => import('./shortcut-sheet'));

interface Place {
  href: string;
  pattern: string;
  label: Key;
  icon: LucideIcon;
}

const COMPANIES: Place = { href: '/companies', pattern: '/companies/*?', label: 'nav.companies', icon: Building2 };
const USERS: Place = { href: '/users', pattern: '/users', label: 'nav.users', icon: UsersRound };

/** The frame: a column at the left of a desk, a bar under the thumb on a phone. */
export function Shell({ isCutOff = false, children }: { isCutOff?: boolean; children: ReactNode }) {
  const t = useT();
  const { session } = useSignedIn();
  const [isHelpOpen, setIsHelpOpen] = useState(false);
  const contentRef = usePageMemory();
  useShortcut('?', () => setIsHelpOpen(true));
  const places = session.user.role === 'admin' ? [COMPANIES, USERS] : [COMPANIES];

  return (
    <div className="flex h-dvh flex-col desk:flex-row">
      <a
        href="#content"
        className="sr-only z-50 rounded-md bg-surface px-4 py-2 text-accent shadow-float focus:not-sr-only focus:fixed focus:top-2 focus:left-2"
      >
        {t('app.skipToContent')}
      </a>
      <aside className="hidden w-56 shrink-0 flex-col border-r border-line bg-paper desk:flex">
        <div className="flex h-14 items-center gap-2 px-4">
          <Seal className="size-6 shrink-0" />
          <span className="line-clamp-2 min-w-0 text-13 leading-[18px] font-semibold" title={session.workspace.displayName}>
            {session.workspace.displayName}
          </span>
        </div>
        <nav aria-label={t('nav.main')} className="flex flex-1 flex-col gap-0.5 px-2 pt-2">
          {places.map((place) => (
            <SideLink key={place.href} place={place} />
          ))}
        </nav>
        <div className="border-t border-line p-2">
          <AccountButton look="side" onShowShortcuts={() => setIsHelpOpen(true)} />
        </div>
      </aside>
      <div className="flex min-h-0 min-w-0 flex-1 flex-col">
        <Notices isCutOff={isCutOff} />
        <main ref={contentRef} id="content" tabIndex={-1} className="min-h-0 flex-1 overflow-y-auto bg-surface">
          {children}
        </main>
      </div>
      <nav
        aria-label={t('nav.main')}
        className="flex shrink-0 border-t border-line bg-paper pb-[env(safe-area-inset-bottom)] desk:hidden"
      >
        {places.map((place) => (
          <TabLink key={place.href} place={place} />
        ))}
        <AccountButton look="tab" onShowShortcuts={() => setIsHelpOpen(true)} />
      </nav>
      {isHelpOpen ? (
        <Suspense fallback={null}>
          <ShortcutSheet onClose={() => setIsHelpOpen(false)} />
        </Suspense>
      ) : null}
    </div>
  );
}

/** What holds for the whole app just now, said once at the top. */
function Notices({ isCutOff }: { isCutOff: boolean }) {
  const t = useT();
  const { canWrite } = useSignedIn();
  const isOnline = useOnline();
  return (
    <>
      {isOnline || isCutOff ? null : (
        <Banner tone="warn" role="status">
          {t('offline.banner')}
        </Banner>
      )}
      {canWrite || isCutOff ? null : (
        <Banner tone="warn" role="status">
          {t('readOnly.banner')}
        </Banner>
      )}
    </>
  );
}

function SideLink({ place }: { place: Place }) {
  const t = useT();
  const [isHere] = useRoute(place.pattern);
  return (
    <Link
      href={place.href}
      aria-current={isHere ? 'page' : undefined}
      className={cx(
        'flex h-9 items-center gap-2 rounded-md px-2 text-14',
        isHere ? 'bg-tint font-semibold text-accent' : 'text-ink hover:bg-wash',
      )}
    >
      <place.icon aria-hidden className="size-4" strokeWidth={1.75} />
      {t(place.label)}
    </Link>
  );
}

function TabLink({ place }: { place: Place }) {
  const t = useT();
  const [isHere] = useRoute(place.pattern);
  return (
    <Link
      href={place.href}
      aria-current={isHere ? 'page' : undefined}
      className={cx('flex h-14 flex-1 flex-col items-center justify-center gap-0.5 text-12', isHere ? 'font-semibold text-accent' : 'text-muted')}
    >
      <place.icon aria-hidden className="size-5" strokeWidth={1.75} />
      {t(place.label)}
    </Link>
  );
}
