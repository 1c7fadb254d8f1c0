import type { ReactNode } from 'react';
import type { Company } from '../../api/types';
import { useT } from '../../i18n/context';
import type { Key } from '../../i18n';
import { useSignedIn } from '../session/session';

/** What is known, label and value; what is not known takes no more room than a dash. */
export function Facts({ company }: { company: Company }) {
  const t = useT();
  const { format } = useSignedIn();
  const rows: [Key, ReactNode][] = [
    ['company.field.phone', company.phone],
    ['company.field.email', company.email ? <Out href={`mailto:${company.email}`}>{company.email}</Out> : null],
    ['company.field.website', company.website ? <WebLink website={company.website} /> : null],
    ['company.field.address', company.address],
    ['company.field.annualRevenue', company.annualRevenue ? <Revenue amount={company.annualRevenue} /> : null],
    ['company.field.uscc', company.uscc],
    ['company.field.ownerId', company.owner?.name],
    ['company.field.createdAt', format.instant(company.createdAt)],
    ['company.field.updatedAt', format.instant(company.updatedAt)],
  ];
  return (
    <section aria-labelledby="facts">
      <h2 id="facts" className="mb-2 text-16">
        {t('companies.facts')}
      </h2>
      <dl>
        {rows.map(([label, value]) => (
          <div key={label} className="flex min-h-10 items-baseline gap-4 border-b border-line py-2">
            <dt className="w-28 shrink-0 text-13 text-muted desk:w-32">{t(label)}</dt>
            <dd className="min-w-0 max-w-[72ch] flex-1">{value || <span className="text-muted">–</span>}</dd>
          </div>
        ))}
      </dl>
    </section>
  );
}

function Revenue({ amount }: { amount: string }) {
  const { format } = useSignedIn();
  const exact = format.money(amount);
  const brief = format.moneyBrief(amount);
  return (
    <>
      {exact}
      {brief === exact ? null : <span className="ml-2 text-muted">{brief}</span>}
    </>
  );
}

/** Only what is plainly a web address becomes a link: a stored `javascript:` must stay text. */
function WebLink({ website }: { website: string }) {
  const href = /^https?:\/\//i.test(website) ? website : `https://${website}`;
  if (!URL.canParse(href) || !/^https?:\/\/[^\s:/]+\.[^\s]+$/i.test(href)) return website;
  return <Out href={href}>{website.replace(/^https?:\/\//i, '')}</Out>;
}

function Out({ href, children }: { href: string; children: ReactNode }) {
  return (
    <a href={href} target={href.startsWith('http') ? '_blank' : undefined} rel="noreferrer" className="text-accent hover:underline">
      {children}
    </a>
  );
}
