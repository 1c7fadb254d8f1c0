import { Lock } from 'lucide-react';
import { useT } from '../../i18n/context';
import type { Key } from '../../i18n';
import { EmptyState, Notice } from '../../ui/feedback';
import { useDocumentTitle } from '../../ui/hooks';
import { useSignedIn } from '../session/session';
import { ExportForm } from './export-form';

const PARTS: readonly [Key, Key][] = [
  ['export.part.tables', 'export.part.tables.text'],
  ['export.part.database', 'export.part.database.text'],
  ['export.part.start', 'export.part.start.text'],
  ['export.part.proof', 'export.part.proof.text'],
  ['export.part.without', 'export.part.without.text'],
];

export default function ExportPage() {
  const t = useT();
  const { session } = useSignedIn();
  useDocumentTitle(`${t('export.title')} · ${session.workspace.displayName}`);
  if (session.user.role === 'admin') return <Everything />;
  return (
    <EmptyState
      icon={<Lock aria-hidden className="size-8" strokeWidth={1.5} />}
      title={t('users.adminsOnly.title')}
      text={t('export.adminsOnly.text')}
    />
  );
}

/** What one gets, in plain words, before the one button. */
function Everything() {
  const t = useT();
  return (
    <div className="max-w-[72ch] px-4 pb-10 desk:px-6">
      <header className="flex h-14 items-center">
        <h1 className="text-20">{t('export.title')}</h1>
      </header>
      <p className="text-muted">{t('export.lead')}</p>
      <section aria-labelledby="parts" className="mt-6">
        <h2 id="parts" className="mb-2 text-16">
          {t('export.parts')}
        </h2>
        <dl className="border-t border-line">
          {PARTS.map(([name, text]) => (
            <div key={name} className="flex min-h-10 items-baseline gap-4 border-b border-line py-2">
              <dt className="w-20 shrink-0 text-13 text-muted desk:w-32">{t(name)}</dt>
              <dd className="min-w-0 flex-1">{t(text)}</dd>
            </div>
          ))}
        </dl>
      </section>
      <Notice tone="warn" className="mt-6 rounded-md px-3">
        {t('export.secret')}
      </Notice>
      <ExportForm />
    </div>
  );
}
