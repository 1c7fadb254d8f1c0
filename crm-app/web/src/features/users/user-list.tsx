import { Ellipsis } from 'lucide-react';
import { useState } from 'react';
import type { User, UserPatch } from '../../api/types';
import { useT } from '../../i18n/context';
import { Avatar } from '../../ui/avatar';
import { IconButton } from '../../ui/button';
import { cx } from '../../ui/class-names';
import { Menu, MenuItem } from '../../ui/menu';
import { useToast } from '../../ui/toast';
import { errorText } from '../shell/error-text';
import { useWriteGuard } from '../shell/write-guard';
import { useSignedIn } from '../session/session';
import { DeactivateDialog } from './deactivate-dialog';
import type { HandOver } from './link-dialog';
import { useRenewLink, useUpdateUser } from './queries';
import { userErrorText } from './user-error';

export function UserList({ users, onLink }: { users: readonly User[]; onLink: (link: HandOver) => void }) {
  const [leaving, setLeaving] = useState<User | null>(null);
  return (
    <>
      <ul className="border-t border-line">
        {users.map((user) => (
          <UserRow key={user.id} user={user} onLink={onLink} onDeactivate={() => setLeaving(user)} />
        ))}
      </ul>
      {leaving ? <DeactivateDialog user={leaving} onClose={() => setLeaving(null)} /> : null}
    </>
  );
}

interface UserRowProps {
  user: User;
  onLink: (link: HandOver) => void;
  onDeactivate: () => void;
}

function UserRow({ user, onLink, onDeactivate }: UserRowProps) {
  const t = useT();
  const { session, format } = useSignedIn();
  const isMe = user.id === session.user.id;
  const isGone = user.status === 'deactivated';
  return (
    <li className="flex min-h-14 items-center gap-3 border-b border-line py-2 pr-2 pl-4 desk:pr-4 desk:pl-6">
      <Avatar name={user.name} />
      <div className="min-w-0 flex-1 desk:grid desk:grid-cols-[minmax(0,5fr)_minmax(0,2fr)_minmax(0,2fr)_minmax(0,2fr)] desk:items-center desk:gap-4">
        <div className="min-w-0">
          <p className="flex items-baseline gap-2">
            <span className={cx('truncate font-semibold', isGone && 'text-muted')}>{user.name}</span>
            {isMe ? <span className="text-12 text-muted">{t('users.you')}</span> : null}
          </p>
          <p className="truncate text-12 text-muted">{user.email}</p>
        </div>
        <p className="text-12 text-muted desk:hidden">
          {t(`users.role.${user.role}`)} · {t(`users.status.${user.status}`)}
        </p>
        <p className="hidden text-13 desk:block">{t(`users.role.${user.role}`)}</p>
        <p className={cx('hidden text-13 desk:block', isGone && 'text-muted')}>{t(`users.status.${user.status}`)}</p>
        <p className="hidden text-13 text-muted desk:block">
          <time dateTime={user.createdAt} title={format.instant(user.createdAt)}>
            {t('users.since', { day: format.brief(user.createdAt, new Date()) })}
          </time>
        </p>
      </div>
      <UserMenu user={user} isMe={isMe} onLink={onLink} onDeactivate={onDeactivate} />
    </li>
  );
}

function UserMenu({ user, isMe, onLink, onDeactivate }: UserRowProps & { isMe: boolean }) {
  const t = useT();
  const toast = useToast();
  const guard = useWriteGuard();
  const update = useUpdateUser();
  const renew = useRenewLink();
  const change = (patch: UserPatch, done: string) =>
    guard(() =>
      update.mutate(
        { id: user.id, patch },
        { onSuccess: () => toast('done', done), onError: (error) => toast('warn', userErrorText(error, t)) },
      ),
    );
  const renewLink = () =>
    guard(() =>
      renew.mutate(user.id, {
        onSuccess: (link) => onLink({ name: user.name, ...link }),
        onError: (error) => toast('warn', errorText(error, t)),
      }),
    );
  const nextRole = user.role === 'admin' ? 'member' : 'admin';

  return (
    <Menu
      trigger={
        <IconButton label={t('users.menu', { name: user.name })}>
          <Ellipsis aria-hidden className="size-4" />
        </IconButton>
      }
    >
      <MenuItem
        onSelect={() =>
          change({ role: nextRole }, t('users.saved.role', { name: user.name, role: t(`users.role.${nextRole}`) }))
        }
      >
        {t(nextRole === 'admin' ? 'users.makeAdmin' : 'users.makeMember')}
      </MenuItem>
      {user.status === 'deactivated' ? null : <MenuItem onSelect={renewLink}>{t('users.renewLink')}</MenuItem>}
      {user.status === 'deactivated' ? (
        <MenuItem onSelect={() => change({ status: 'active' }, t('users.saved.active', { name: user.name }))}>
          {t('users.activate')}
        </MenuItem>
      ) : (
        // Locking oneself out is never what one meant.
        <MenuItem disabled={isMe} onSelect={() => guard(onDeactivate)}>
          {t('users.deactivate')}
        </MenuItem>
      )}
    </Menu>
  );
}
