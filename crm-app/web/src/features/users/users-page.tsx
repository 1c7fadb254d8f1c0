import { CircleAlert, Ellipsis, Lock, UserPlus } from 'lucide-react';
import { useState } from 'react';
import type { User } from '../../api/types';
import { useT } from '../../i18n/context';
import { Avatar } from '../../ui/avatar';
import { Button, IconButton } from '../../ui/button';
import { cx } from '../../ui/class-names';
import { Banner, EmptyState, Skeleton } from '../../ui/feedback';
import { useDocumentTitle, useIsDesk } from '../../ui/hooks';
import { Menu, MenuItem } from '../../ui/menu';
import { useToast } from '../../ui/toast';
import { errorText } from '../shell/error-text';
import { useWriteGuard } from '../shell/write-guard';
import { useSignedIn } from '../session/session';
import { DeactivateDialog } from './deactivate-dialog';
import { InviteDialog } from './invite-dialog';
import { takesSeat, useUpdateUser, useUsers } from './queries';

export default function UsersPage() {
  const t = useT();
  const { session } = useSignedIn();
  useDocumentTitle(`${t('users.title')} · ${session.workspace.displayName}`);
  if (session.user.role === 'admin') return <People />;
  return (
    <EmptyState
      icon={<Lock aria-hidden className="size-8" strokeWidth={1.5} />}
      title={t('users.adminsOnly.title')}
      text={t('users.adminsOnly.text')}
    />
  );
}

function People() {
  const t = useT();
  const { session } = useSignedIn();
  const users = useUsers();
  const guard = useWriteGuard();
  const isDesk = useIsDesk();
  const [isInviting, setIsInviting] = useState(false);
  const used = users.data?.items.filter(takesSeat).length ?? 0;
  const limit = session.workspace.seats;
  const isFull = users.data !== undefined && used >= limit;

  return (
    <div className="pb-10">
      <header className="flex h-14 items-center justify-between gap-4 pr-2 pl-4 desk:px-6">
        <h1 className="text-20">{t('users.title')}</h1>
        <Button
          variant={isDesk ? 'primary' : 'quiet'}
          onClick={() => guard(() => setIsInviting(true))}
          disabled={isFull}
          className={cx(!isDesk && 'text-accent')}
        >
          <UserPlus aria-hidden className="size-4" />
          {t('users.invite')}
        </Button>
      </header>
      <p className="min-h-9 px-4 pb-3 text-13 text-muted desk:px-6">{users.data ? t('users.seats', { used, limit }) : null}</p>
      {isFull ? <Banner tone="info">{t('users.seats.full')}</Banner> : null}
      {users.data ? (
        <UserList users={users.data.items} />
      ) : users.isPending ? (
        <PendingUsers />
      ) : (
        <EmptyState
          icon={<CircleAlert aria-hidden className="size-8" strokeWidth={1.5} />}
          title={t('users.failed.title')}
          text={errorText(users.error, t)}
          action={
            <Button busy={users.isFetching} onClick={() => void users.refetch()}>
              {t('action.retry')}
            </Button>
          }
        />
      )}
      {isInviting ? <InviteDialog onClose={() => setIsInviting(false)} /> : null}
    </div>
  );
}

function UserList({ users }: { users: readonly User[] }) {
  const [leaving, setLeaving] = useState<User | null>(null);
  return (
    <>
      <ul className="border-t border-line">
        {users.map((user) => (
          <UserRow key={user.id} user={user} onDeactivate={() => setLeaving(user)} />
        ))}
      </ul>
      {leaving ? <DeactivateDialog user={leaving} onClose={() => setLeaving(null)} /> : null}
    </>
  );
}

function UserRow({ user, onDeactivate }: { user: User; onDeactivate: () => void }) {
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
            {format.brief(user.createdAt, new Date())}
          </time>
        </p>
      </div>
      <UserMenu user={user} isMe={isMe} onDeactivate={onDeactivate} />
    </li>
  );
}

function UserMenu({ user, isMe, onDeactivate }: { user: User; isMe: boolean; onDeactivate: () => void }) {
  const t = useT();
  const toast = useToast();
  const guard = useWriteGuard();
  const update = useUpdateUser();
  const change = (patch: Partial<User>, done: string) =>
    guard(() =>
      update.mutate(
        { id: user.id, patch },
        { onSuccess: () => toast('done', done), onError: (error) => toast('warn', errorText(error, t)) },
      ),
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

function PendingUsers() {
  const t = useT();
  return (
    <div className="border-t border-line">
      <p role="status" className="sr-only">
        {t('users.loading')}
      </p>
      {[0, 1, 2].map((row) => (
        <div key={row} className="flex h-14 items-center gap-3 border-b border-line px-4 desk:px-6">
          <Skeleton className="size-8 rounded-full" />
          <Skeleton className="w-40" />
        </div>
      ))}
    </div>
  );
}
