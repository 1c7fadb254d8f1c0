import { Download, Keyboard, LogOut } from 'lucide-react';
import { useLocation } from 'wouter';
import { LOCALES } from '../../i18n';
import { useI18n } from '../../i18n/context';
import { Menu, MenuChoice, MenuItem, MenuSeparator } from '../../ui/menu';
import { useTheme } from '../../ui/theme';
import { useToast } from '../../ui/toast';
import { useSignedIn, useSignOut } from '../session/session';
import { AccountTrigger, type AccountLook } from './account-button';
import { errorText } from './error-text';

/** Comes into being when it is first asked for, and so is open at first. */
export default function AccountMenu({ look, onShowShortcuts }: { look: AccountLook; onShowShortcuts: () => void }) {
  const { t, locale, chooseLocale } = useI18n();
  const { session } = useSignedIn();
  const theme = useTheme();
  const signOut = useSignOut();
  const toast = useToast();
  const [, navigate] = useLocation();

  return (
    <Menu side="top" align={look === 'side' ? 'start' : 'end'} isOpenAtFirst trigger={<AccountTrigger look={look} />}>
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
      {session.user.role === 'admin' ? (
        <MenuItem onSelect={() => navigate('/export')}>
          <Download aria-hidden className="size-4 text-muted" strokeWidth={1.75} />
          {t('export.title')}
        </MenuItem>
      ) : null}
      {look === 'side' ? (
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
