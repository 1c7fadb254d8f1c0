import { CircleAlert, Lock, UserPlus } from 'lucide-react';
import { useState } from 'react';
import { useT } from '../../i18n/context';
import { Button } from '../../ui/button';
import { Banner, EmptyState, Skeleton } from '../../ui/feedback';
import { useDocumentTitle } from '../../ui/hooks';
import { errorText } from '../shell/error-text';
import { useWriteGuard } from '../shell/write-guard';
import { useSignedIn } from '../session/session';
import { InviteDialog } from './invite-dialog';
import { LinkDialog, type HandOver } from './link-dialog';
import { takesSeat, useUsers } from './queries';
import { UserList } from './user-list';

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
  const [isInviting, setIsInviting] = useState(false);
  const [handOver, setHandOver] = useState<HandOver | null>(null);
  const used = users.data?.filter(takesSeat).length ?? 0;
  const limit = session.workspace.seats;
  const isFull = users.data !== undefined && used >= limit;

  return (
    <div className="pb-10">
      <header className="flex h-14 items-center justify-between gap-4 px-4 desk:px-6">
        <h1 className="text-20">{t('users.title')}</h1>
        <Button
          variant="primary"
          onClick={() => guard(() => setIsInviting(true))}
          disabled={isFull}
        >
          <UserPlus aria-hidden className="size-4" />
          {t('users.invite')}
        </Button>
      </header>
      <p className="min-h-9 px-4 pb-3 text-13 text-muted desk:px-6">{users.data ? t('users.seats', { used, limit }) : null}</p>
      {isFull ? <Banner tone="info">{t('users.seats.full')}</Banner> : null}
      {users.data ? (
        <UserList users={users.data} onLink={setHandOver} />
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
      {isInviting ? (
        <InviteDialog
          onClose={() => setIsInviting(false)}
          onInvited={(user) => {
            setIsInviting(false);
            setHandOver(user);
          }}
        />
      ) : null}
      {handOver ? <LinkDialog {...handOver} onClose={() => setHandOver(null)} /> : null}
    </div>
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
