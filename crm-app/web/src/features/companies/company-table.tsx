import { ArrowDown, ArrowUp } from 'lucide-react';
import type { ReactNode } from 'react';
import { Link, useLocation } from 'wouter';
import type { Company, CompanySort } from '../../api/types';
import { useT } from '../../i18n/context';
import { cx } from '../../ui/class-names';
import { Skeleton } from '../../ui/feedback';
import { Highlight, HighlightPhone } from '../../ui/highlight';
import { useSignedIn } from '../session/session';
import { LevelMark } from './level-mark';
import { NextContact } from './next-contact';

interface CompanyTableProps {
  companies: readonly Company[];
  query: string;
  sort: CompanySort;
  onSort: (sort: CompanySort) => void;
  /** Rows to draw as bars because their data is on its way. */
  pendingRows: number;
}

/** The list on a desk: one line a company. */
export function CompanyTable({ companies, query, sort, onSort, pendingRows }: CompanyTableProps) {
  const t = useT();
  return (
    <table className="w-full table-fixed border-separate border-spacing-0 text-left">
      <colgroup>
        <col />
        <col className="w-16" />
        <col className="hidden w-32 wide:table-column" />
        <col className="w-40" />
        <col className="w-48" />
        <col className="hidden w-24 wide:table-column" />
        <col className="w-28" />
      </colgroup>
      <thead>
        <tr>
          <SortHeader label={t('company.field.name')} mine="name" direction="ascending" sort={sort} onSort={onSort} />
          <Header>{t('company.field.level')}</Header>
          <Header className="hidden wide:table-cell">{t('company.field.industry')}</Header>
          <Header>{t('company.field.phone')}</Header>
          <Header>{t('company.field.nextContactOn')}</Header>
          <Header className="hidden wide:table-cell">{t('company.field.ownerId')}</Header>
          <SortHeader label={t('companies.updated')} mine="-updatedAt" direction="descending" sort={sort} onSort={onSort} />
        </tr>
      </thead>
      <tbody>
        {companies.map((company) => (
          <CompanyRow key={company.id} company={company} query={query} />
        ))}
        {Array.from({ length: pendingRows }, (_, index) => (
          <PendingRow key={index} index={index} />
        ))}
      </tbody>
    </table>
  );
}

const HEADER =
  'sticky top-14 z-10 h-9 border-b border-line bg-surface px-3 text-12 font-normal whitespace-nowrap text-muted first:pl-6 last:pr-6';

function Header({ className, children }: { className?: string; children: ReactNode }) {
  return (
    <th scope="col" className={cx(HEADER, className)}>
      {children}
    </th>
  );
}

interface SortHeaderProps {
  label: string;
  mine: CompanySort;
  direction: 'ascending' | 'descending';
  sort: CompanySort;
  onSort: (sort: CompanySort) => void;
}

function SortHeader({ label, mine, direction, sort, onSort }: SortHeaderProps) {
  const isActive = sort === mine;
  const Arrow = direction === 'ascending' ? ArrowUp : ArrowDown;
  return (
    <th scope="col" aria-sort={isActive ? direction : 'none'} className={HEADER}>
      <button
        type="button"
        onClick={() => onSort(mine)}
        className={cx('-ml-2 inline-flex h-7 items-center gap-1 rounded-md px-2 hover:bg-wash', isActive && 'font-semibold text-ink')}
      >
        {label}
        <Arrow aria-hidden className={cx('size-3.5', !isActive && 'opacity-0')} />
      </button>
    </th>
  );
}

const CELL = 'h-10 truncate border-b border-line px-3 group-hover:bg-wash group-has-focus-visible:bg-wash first:pl-6 last:pr-6';

function CompanyRow({ company, query }: { company: Company; query: string }) {
  const t = useT();
  const [, navigate] = useLocation();
  const { format } = useSignedIn();
  const href = `/companies/${company.id}`;
  return (
    <tr
      className="group cursor-pointer"
      // The link in the row is for keyboards, screen readers and new tabs; the rest of the row is a larger target for it.
      onClick={(event) => {
        if (event.defaultPrevented || event.target instanceof HTMLAnchorElement || hasSelection()) return;
        navigate(href);
      }}
    >
      <td className={CELL}>
        <Link href={href} data-row className="font-semibold">
          <Highlight text={company.name} query={query} />
        </Link>
        {company.shortName ? (
          <span className="ml-2 text-muted">
            <Highlight text={company.shortName} query={query} />
          </span>
        ) : null}
      </td>
      <td className={CELL}>{company.level ? <LevelMark level={company.level} /> : null}</td>
      <td className={cx(CELL, 'hidden wide:table-cell')}>{company.industry}</td>
      <td className={CELL}>{company.phone ? <HighlightPhone phone={company.phone} query={query} /> : null}</td>
      <td className={CELL}>
        {company.nextContactOn ? (
          <NextContact day={company.nextContactOn} />
        ) : (
          <span className="text-muted">{t('companies.noNextContact')}</span>
        )}
      </td>
      <td className={cx(CELL, 'hidden wide:table-cell')}>{company.owner?.name}</td>
      <td className={cx(CELL, 'text-muted')}>
        <time dateTime={company.updatedAt} title={format.instant(company.updatedAt)}>
          {format.brief(company.updatedAt, new Date())}
        </time>
      </td>
    </tr>
  );
}

const BARS = ['w-56', 'w-44', 'w-64', 'w-48'];

function PendingRow({ index }: { index: number }) {
  return (
    <tr aria-hidden>
      <td className={CELL}>
        <Skeleton className={BARS[index % BARS.length]} />
      </td>
      <td className={CELL}>
        <Skeleton className="w-4" />
      </td>
      <td className={cx(CELL, 'hidden wide:table-cell')}>
        <Skeleton className="w-16" />
      </td>
      <td className={CELL}>
        <Skeleton className="w-24" />
      </td>
      <td className={CELL}>
        <Skeleton className="w-28" />
      </td>
      <td className={cx(CELL, 'hidden wide:table-cell')}>
        <Skeleton className="w-12" />
      </td>
      <td className={CELL}>
        <Skeleton className="w-14" />
      </td>
    </tr>
  );
}

function hasSelection(): boolean {
  return (window.getSelection()?.toString() ?? '') !== '';
}
