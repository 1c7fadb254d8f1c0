import { ChevronsUpDown, CircleUserRound, Keyboard, LogOut } from 'lucide-react';
import { LOCALES } from '../../i18n';
import { useI18n } from '../../i18n/context';
import { Avatar } from '../../ui/avatar';
import { useIsDesk } from '../../ui/hooks';
import { Menu, MenuChoice, MenuItem, MenuSeparator } from '../../ui/menu';
import { useTheme } from '../../ui/theme';
import { useToast } from '../../ui/toast';
import { useSignedIn, useSignOut } from '../session/session';
import { errorText } from './error-text';

export default function AccountMenu({ look, onShowShortcuts }: { look: 'side' | 'tab'; onShowShortcuts: () => void }) {
  const { t, locale, chooseLocale } = useI18n();
  const { session } = useSignedIn();
  const theme = useTheme();
  const isDesk = useIsDesk();
  const signOut = useSignOut();
  const toast = useToast();
  // One of the two looks is hidden by style; only the visible one may own the menu.
  if (isDesk !== (look === 'side')) return null;

  return (
    <Menu
      side="top"
      align={look === 'side' ? 'start' : 'end'}
      trigger={look === 'side' ? <SideTrigger name={session.user.name} /> : <TabTrigger />}
    >
      <div className="px-2 py-1">
        <p className="font-semibold">{session.user.name}</p>
        <p className="text-12 text-muted">{session.user.email}</p>
      </div>
      <MenuSeparator />
      <MenuChoice label={t('account.language')} value={locale} options={LOCALES} onChange={chooseLocale} />
      <MenuSeparator />
      <MenuChoice
        label={t('account.theme')}
        value={theme.choice}
        options={[
          { value: 'light', label: t('account.theme.light') },
          { value: 'dark', label: t('account.theme.dark') },
          { value: 'system', label: t('account.theme.system') },
        ]}
        onChange={theme.choose}
      />
      <MenuSeparator />
      {isDesk ? (
        <MenuItem onSelect={onShowShortcuts}>
          <Keyboard aria-hidden className="size-4 text-muted" strokeWidth={1.75} />
          <span className="flex-1">{t('account.shortcuts')}</span>
          <kbd className="text-12 text-muted">?</kbd>
        </MenuItem>
      ) : null}
      <MenuItem onSelect={() => void signOut().catch((error: unknown) => toast('warn', errorText(error, t)))}>
        <LogOut aria-hidden className="size-4 text-muted" strokeWidth={1.75} />
        {t('session.signOut')}
      </MenuItem>
    </Menu>
  );
}

function SideTrigger({ name, ...rest }: { name: string }) {
  const { t } = useI18n();
  return (
    <button
      type="button"
      className="flex h-11 w-full items-center gap-2 rounded-md px-2 text-left hover:bg-wash data-[state=open]:bg-wash"
      {...rest}
    >
      <Avatar name={name} />
      <span className="sr-only">{t('account.menu')}</span>
      <span className="min-w-0 flex-1 truncate">{name}</span>
      <ChevronsUpDown aria-hidden className="size-4 text-muted" strokeWidth={1.75} />
    </button>
  );
}

function TabTrigger(props: object) {
  const { t } = useI18n();
  return (
    <button
      type="button"
      aria-label={t('account.menu')}
      className="flex h-14 flex-1 flex-col items-center justify-center gap-0.5 text-12 text-muted"
      {...props}
    >
      <CircleUserRound aria-hidden className="size-5" strokeWidth={1.75} />
      {t('nav.account')}
    </button>
  );
}
