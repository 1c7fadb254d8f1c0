import { Info, TriangleAlert } from 'lucide-react';
import type { ReactNode } from 'react';
import { cx } from './class-names';

interface NoticeProps {
  tone: 'warn' | 'info';
  role?: 'alert' | 'status';
  className?: string;
  children: ReactNode;
}

/** A line across the page: what is the case, and what to do about it. */
export function Banner(props: NoticeProps) {
  return <Notice {...props} className="px-4 desk:px-6" />;
}

/** The same inside a form or a card. */
export function Notice({ tone, role, className = 'rounded-md px-3', children }: NoticeProps) {
  const Icon = tone === 'warn' ? TriangleAlert : Info;
  return (
    <div
      role={role}
      className={cx('flex items-start gap-2 py-2 text-13 text-ink', className, tone === 'warn' ? 'bg-warn-wash' : 'bg-tint')}
    >
      <Icon aria-hidden className={cx('mt-0.5 size-4 shrink-0', tone === 'warn' ? 'text-warn' : 'text-accent')} />
      <div className="min-w-0 flex-1">{children}</div>
    </div>
  );
}

interface EmptyStateProps {
  icon?: ReactNode;
  title: string;
  text?: ReactNode;
  action?: ReactNode;
}

/** An empty place says what it is for and what to do first. */
export function EmptyState({ icon, title, text, action }: EmptyStateProps) {
  return (
    <div className="mx-auto flex max-w-[40ch] flex-col items-center px-4 py-16 text-center">
      {icon ? <div className="mb-4 text-muted">{icon}</div> : null}
      <p className="text-16 font-semibold">{title}</p>
      {text ? <div className="mt-1 text-14 text-balance text-muted">{text}</div> : null}
      {action ? <div className="mt-6">{action}</div> : null}
    </div>
  );
}

/** A grey bar in the shape of the text to come. Its place says "loading" once, for all bars in it. */
export function Skeleton({ className }: { className?: string }) {
  return <div aria-hidden className={cx('skeleton h-3', className)} />;
}
