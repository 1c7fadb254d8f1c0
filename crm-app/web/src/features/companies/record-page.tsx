import { ArrowLeft, Building2, CalendarClock, CircleAlert, Mail, Pencil, Phone } from 'lucide-react';
import { useState } from 'react';
import { Link } from 'wouter';
import { isProblem } from '../../api/problem';
import type { Company } from '../../api/types';
import { useT } from '../../i18n/context';
import { Button } from '../../ui/button';
import { EmptyState, Skeleton } from '../../ui/feedback';
import { useDocumentTitle } from '../../ui/hooks';
import { useShortcut } from '../../ui/shortcuts';
import { errorText } from '../shell/error-text';
import { useWriteGuard } from '../shell/write-guard';
import { EditDialog } from './edit-dialog';
import { Facts } from './facts';
import { LevelMark } from './level-mark';
import { lastListAddress } from './list-state';
import { NextContact } from './next-contact';
import { useCompany } from './queries';
import { Timeline } from './timeline';

export default function CompanyPage({ id }: { id: string }) {
  const t = useT();
  const company = useCompany(id);
  if (company.data) return <Record company={company.data} />;
  if (company.isPending) return <PendingRecord />;
  if (isProblem(company.error, 'not-found') || isProblem(company.error, 'invalid')) {
    return (
      <EmptyState
        icon={<Building2 aria-hidden className="size-8" strokeWidth={1.5} />}
        title={t('companies.notFound.title')}
        text={t('companies.notFound.text')}
        action={<ToList />}
      />
    );
  }
  return (
    <EmptyState
      icon={<CircleAlert aria-hidden className="size-8" strokeWidth={1.5} />}
      title={errorText(company.error, t)}
      action={
        <Button busy={company.isFetching} onClick={() => void company.refetch()}>
          {t('action.retry')}
        </Button>
      }
    />
  );
}

function Record({ company }: { company: Company }) {
  const t = useT();
  const guard = useWriteGuard();
  const [isEditing, setIsEditing] = useState(false);
  const edit = () => guard(() => setIsEditing(true));
  useDocumentTitle(company.name);
  useShortcut('e', edit);

  return (
    <article className="pb-10">
      <BackLink />
      <header className="flex items-start justify-between gap-4 px-4 pb-4 desk:px-6">
        <div className="min-w-0">
          <h1 className="text-20 text-balance">{company.name}</h1>
          <p className="mt-1 flex min-h-5 flex-wrap items-center gap-x-3 gap-y-1 text-13 text-muted">
            {company.level ? <LevelMark level={company.level} /> : null}
            {company.shortName ? <span>{company.shortName}</span> : null}
            {company.industry ? <span>{company.industry}</span> : null}
            {company.owner ? <span>{company.owner.name}</span> : null}
          </p>
        </div>
        <Button onClick={edit} className="shrink-0">
          <Pencil aria-hidden className="size-4" strokeWidth={1.75} />
          {t('action.edit')}
        </Button>
      </header>
      <NextStep company={company} onPlan={edit} />
      <div className="grid gap-x-10 gap-y-6 px-4 pt-6 desk:px-6 wide:grid-cols-[minmax(0,5fr)_minmax(0,4fr)]">
        <Facts company={company} />
        <Timeline companyId={company.id} />
      </div>
      {isEditing ? <EditDialog company={company} onClose={() => setIsEditing(false)} /> : null}
    </article>
  );
}

/** Above the fold: when to be in touch next, and how. */
function NextStep({ company, onPlan }: { company: Company; onPlan: () => void }) {
  const t = useT();
  return (
    <section aria-label={t('company.field.nextContactOn')} className="border-y border-line bg-paper">
      <div className="flex min-h-14 flex-wrap items-center gap-x-4 gap-y-2 px-4 py-2 desk:px-6">
        <CalendarClock aria-hidden className="size-5 text-muted" strokeWidth={1.5} />
        <div className="min-w-0 flex-1">
          {company.nextContactOn ? (
            <>
              <span className="mr-2 text-muted">{t('company.field.nextContactOn')}</span>
              <span className="font-semibold">
                <NextContact day={company.nextContactOn} />
              </span>
            </>
          ) : (
            <button type="button" onClick={onPlan} className="min-h-11 text-left text-muted hover:text-ink desk:min-h-9">
              {t('due.none')}
            </button>
          )}
        </div>
        <div className="flex gap-2">
          {company.phone ? (
            <ContactLink href={`tel:${company.phone.replace(/[^\d+]/g, '')}`} label={t('companies.call')} icon={Phone} />
          ) : null}
          {company.email ? <ContactLink href={`mailto:${company.email}`} label={t('companies.mail')} icon={Mail} /> : null}
        </div>
      </div>
    </section>
  );
}

function ContactLink({ href, label, icon: Icon }: { href: string; label: string; icon: typeof Phone }) {
  return (
    <a
      href={href}
      className="inline-flex min-h-11 items-center gap-2 rounded-md border border-line bg-surface px-3 font-semibold hover:bg-wash desk:min-h-9"
    >
      <Icon aria-hidden className="size-4 text-muted" strokeWidth={1.75} />
      {label}
    </a>
  );
}

/** Back to the list with the search and order that it had. */
function BackLink() {
  const t = useT();
  return (
    <div className="flex h-11 items-center px-2 desk:h-12 desk:px-4">
      <Link
        href={lastListAddress()}
        className="inline-flex min-h-11 items-center gap-1 rounded-md px-2 text-13 text-muted hover:bg-wash hover:text-ink desk:min-h-8"
      >
        <ArrowLeft aria-hidden className="size-4" strokeWidth={1.75} />
        {t('nav.companies')}
      </Link>
    </div>
  );
}

function ToList() {
  const t = useT();
  return (
    <Link href="/companies" className="text-accent hover:underline">
      {t('companies.toList')}
    </Link>
  );
}

function PendingRecord() {
  const t = useT();
  return (
    <div className="px-4 desk:px-6">
      <p role="status" className="sr-only">
        {t('app.loading')}
      </p>
      <div className="h-12" />
      <Skeleton className="h-5 w-64" />
      <Skeleton className="mt-4 w-40" />
      <Skeleton className="mt-8 h-12 w-full" />
      {[0, 1, 2, 3, 4].map((row) => (
        <Skeleton key={row} className="mt-6 w-80 max-w-full" />
      ))}
    </div>
  );
}
