import { ChevronRight } from 'lucide-react';
import { Link } from 'wouter';
import type { Company } from '../../api/types';
import { Highlight, HighlightPhone, splitPhoneTail } from '../../ui/highlight';
import { Skeleton } from '../../ui/feedback';
import { LevelMark } from './level-mark';
import { NextContact } from './next-contact';

interface CompanyCardsProps {
  companies: readonly Company[];
  query: string;
  pendingRows: number;
}

/** The list on a phone: two lines a company, the whole row is the target. */
export function CompanyCards({ companies, query, pendingRows }: CompanyCardsProps) {
  return (
    <ul>
      {companies.map((company) => (
        <li key={company.id}>
          <Link href={`/companies/${company.id}`} data-row className="flex min-h-14 items-center gap-3 border-b border-line py-1.5 pr-3 pl-4 active:bg-wash">
            <span className="min-w-0 flex-1">
              <span className="block truncate font-semibold">
                <Highlight text={company.name} query={query} />
              </span>
              <span className="flex h-5 items-center gap-2 text-12 text-muted">
                {company.nextContactOn ? <NextContact day={company.nextContactOn} isBrief /> : null}
                <span className="truncate">
                  <SecondLine company={company} query={query} />
                </span>
              </span>
            </span>
            {company.level ? <LevelMark level={company.level} /> : null}
            <ChevronRight aria-hidden className="size-4 shrink-0 text-muted" strokeWidth={1.75} />
          </Link>
        </li>
      ))}
      {Array.from({ length: pendingRows }, (_, index) => (
        <li key={index} aria-hidden className="flex h-14 flex-col justify-center gap-2 border-b border-line px-4">
          <Skeleton className="w-48" />
          <Skeleton className="w-28" />
        </li>
      ))}
    </ul>
  );
}

/** What helps to tell companies apart; the phone when it is what was searched for. */
function SecondLine({ company, query }: { company: Company; query: string }) {
  if (company.phone && splitPhoneTail(company.phone, query).length > 1) return <HighlightPhone phone={company.phone} query={query} />;
  return <Highlight text={[company.shortName, company.industry, company.owner?.name].filter(Boolean).join(' · ')} query={query} />;
}
