import { ChevronsUpDown, CircleUserRound } from 'lucide-react';
import { lazy, Suspense, useState, type ComponentProps } from 'react';
import { useT } from '../../i18n/context';
import { Avatar } from '../../ui/avatar';
import { useSignedIn } from '../session/session';

// Menus bring a positioning library, a fifth of the first page's weight. It comes when somebody reaches for the menu.
const loadMenu = () => import('./account-menu');
const AccountMenu = lazy(loadMenu);

export type AccountLook = 'side' | 'tab';

/** Opens the account menu: at the foot of the column on a desk, as the last tab on a phone. */
export function AccountButton({ look, onShowShortcuts }: { look: AccountLook; onShowShortcuts: () => void }) {
  const [isWanted, setIsWanted] = useState(false);
  const trigger = (
    <AccountTrigger
      look={look}
      onClick={() => setIsWanted(true)}
      onPointerEnter={() => void loadMenu()}
      onFocus={() => void loadMenu()}
    />
  );
  if (!isWanted) return trigger;
  return (
    <Suspense fallback={trigger}>
      <AccountMenu look={look} onShowShortcuts={onShowShortcuts} />
    </Suspense>
  );
}

export function AccountTrigger({ look, ...rest }: { look: AccountLook } & ComponentProps<'button'>) {
  const t = useT();
  const { session } = useSignedIn();
  if (look === 'tab') {
    return (
      <button
        type="button"
        aria-haspopup="menu"
        aria-label={t('account.menu')}
        className="flex h-14 flex-1 flex-col items-center justify-center gap-0.5 text-12 text-muted"
        {...rest}
      >
        <CircleUserRound aria-hidden className="size-5" strokeWidth={1.75} />
        {t('nav.account')}
      </button>
    );
  }
  return (
    <button
      type="button"
      aria-haspopup="menu"
      className="flex h-11 w-full items-center gap-2 rounded-md px-2 text-left hover:bg-wash data-[state=open]:bg-wash"
      {...rest}
    >
      <Avatar name={session.user.name} />
      <span className="sr-only">{t('account.menu')}</span>
      <span className="min-w-0 flex-1 truncate">{session.user.name}</span>
      <ChevronsUpDown aria-hidden className="size-4 text-muted" strokeWidth={1.75} />
    </button>
  );
}
