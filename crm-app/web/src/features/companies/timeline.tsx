import { useState } from 'react';
import type { AuditEntry } from '../../api/types';
import type { Key } from '../../i18n';
import { useT } from '../../i18n/context';
import { zhCN } from '../../i18n/zh-CN';
import { Avatar } from '../../ui/avatar';
import { Button } from '../../ui/button';
import { Skeleton } from '../../ui/feedback';
import { errorText } from '../shell/error-text';
import { useSignedIn } from '../session/session';
import { useFieldText } from './field-text';
import { useCompanyAudit } from './queries';

const SHOWN_CHANGES = 3;

/** Who did what, newest first, under the day on which it happened. */
export function Timeline({ companyId }: { companyId: string }) {
  const t = useT();
  const audit = useCompanyAudit(companyId);
  return (
    <section aria-labelledby="timeline" aria-busy={audit.isPending}>
      <h2 id="timeline" className="mb-2 text-16">
        {t('companies.timeline')}
      </h2>
      {audit.data ? (
        <>
          <Days entries={audit.data.pages.flatMap((page) => page.items)} />
          {audit.hasNextPage ? (
            <Button busy={audit.isFetchingNextPage} onClick={() => void audit.fetchNextPage()}>
              {t('audit.older')}
            </Button>
          ) : null}
        </>
      ) : audit.isPending ? (
        <PendingEntries />
      ) : (
        <div className="flex items-center gap-4 py-2">
          <span className="text-muted">{`${t('audit.failed')} ${errorText(audit.error, t)}`}</span>
          <Button onClick={() => void audit.refetch()}>{t('action.retry')}</Button>
        </div>
      )}
    </section>
  );
}

function Days({ entries }: { entries: readonly AuditEntry[] }) {
  const t = useT();
  const { format } = useSignedIn();
  if (entries.length === 0) return <p className="py-2 text-muted">{t('audit.empty')}</p>;
  const now = new Date();
  const days = groupBy(entries, (entry) => format.heading(entry.at, now));
  return [...days].map(([day, itsEntries]) => (
    <div key={day} className="mb-4">
      <h3 className="py-2 text-12 font-normal text-muted">{day}</h3>
      <ol className="flex flex-col gap-4">
        {itsEntries.map((entry) => (
          <Entry key={entry.id} entry={entry} />
        ))}
      </ol>
    </div>
  ));
}

function Entry({ entry }: { entry: AuditEntry }) {
  const t = useT();
  const { format } = useSignedIn();
  const actor = entry.actor?.name ?? t('audit.system');
  return (
    <li className="flex gap-3">
      <Avatar name={actor} />
      <div className="min-w-0 flex-1 pt-1">
        <p className="flex items-baseline gap-2">
          <span className="min-w-0 flex-1">
            <span className="font-semibold">{actor}</span> {whatHappened(entry, t)}
          </span>
          <time dateTime={entry.at} className="text-12 text-muted" title={format.instant(entry.at)}>
            {format.time(entry.at)}
          </time>
        </p>
        {isCreation(entry) ? null : <Changes changes={entry.changes} />}
      </div>
    </li>
  );
}

function Changes({ changes }: { changes: AuditEntry['changes'] }) {
  const t = useT();
  const fieldText = useFieldText();
  const [isOpen, setIsOpen] = useState(false);
  const all = Object.entries(changes);
  const shown = isOpen ? all : all.slice(0, SHOWN_CHANGES);
  const hidden = all.length - shown.length;
  return (
    <dl className="mt-1 text-13">
      {shown.map(([field, [before = null, after = null]]) => (
        <div key={field} className="flex gap-2 py-0.5">
          <dt className="shrink-0 text-muted">{fieldLabel(field, t)}</dt>
          <dd className="min-w-0">
            <Change before={fieldText(field, before)} after={fieldText(field, after)} />
          </dd>
        </div>
      ))}
      {hidden > 0 || isOpen ? (
        <button type="button" aria-expanded={isOpen} onClick={() => setIsOpen(!isOpen)} className="min-h-11 text-muted hover:text-ink desk:min-h-6">
          {isOpen ? t('audit.less') : t('audit.more', { count: hidden })}
        </button>
      ) : null}
    </dl>
  );
}

/** What was filled in needs no "before"; what was emptied needs a word, not a blank. */
function Change({ before, after }: { before: string | null; after: string | null }) {
  const t = useT();
  if (before === null) return <ins className="no-underline">{after ?? t('conflict.empty')}</ins>;
  return (
    <>
      <del className="text-muted">{before}</del>
      <span aria-hidden className="mx-1 text-muted">
        →
      </span>
      <ins className="no-underline">{after ?? t('conflict.empty')}</ins>
    </>
  );
}

function PendingEntries() {
  return (
    <div aria-hidden className="flex flex-col gap-4 py-2">
      {[0, 1].map((row) => (
        <div key={row} className="flex items-center gap-3">
          <Skeleton className="size-8 rounded-full" />
          <Skeleton className="w-48" />
        </div>
      ))}
    </div>
  );
}

function isCreation(entry: AuditEntry): boolean {
  return entry.action === 'create';
}

function whatHappened(entry: AuditEntry, t: ReturnType<typeof useT>): string {
  if (isCreation(entry)) return t('audit.created');
  return t('audit.updated', { count: Object.keys(entry.changes).length });
}

function fieldLabel(field: string, t: ReturnType<typeof useT>): string {
  const key = `company.field.${field}`;
  return key in zhCN ? t(key as Key) : field;
}

function groupBy<T>(items: readonly T[], keyOf: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) groups.set(keyOf(item), [...(groups.get(keyOf(item)) ?? []), item]);
  return groups;
}
