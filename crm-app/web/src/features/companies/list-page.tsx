import { Building2, CircleAlert, Plus, SearchX } from 'lucide-react';
import { useState } from 'react';
import type { CompanySort } from '../../api/types';
import { useT } from '../../i18n/context';
import { Button } from '../../ui/button';
import { cx } from '../../ui/class-names';
import { EmptyState } from '../../ui/feedback';
import { Select } from '../../ui/field';
import { useDocumentTitle, useInView, useIsDesk } from '../../ui/hooks';
import { useShortcut } from '../../ui/shortcuts';
import { errorText } from '../shell/error-text';
import { useSignedIn } from '../session/session';
import { useWriteGuard } from '../shell/write-guard';
import { CompanyCards } from './company-cards';
import { CompanyTable } from './company-table';
import { CreateDialog } from './create-dialog';
import { useListState } from './list-state';
import { useCompanies } from './queries';
import { useRowKeys } from './row-keys';
import { SearchBox } from './search-box';

export default function CompanyListPage() {
  const t = useT();
  const { session } = useSignedIn();
  const isDesk = useIsDesk();
  const [state, setState] = useListState();
  const [draftName, setDraftName] = useState<string | null>(null);
  const guard = useWriteGuard();
  const list = useCompanies(state);
  // The very first visit has one thing to do, and one button for it.
  const isEmpty = state.q === '' && list.data?.pages[0]?.items.length === 0 && !list.isPlaceholderData;
  const create = (name = '') => guard(() => setDraftName(name));
  useDocumentTitle(`${t('companies.title')} · ${session.workspace.displayName}`);
  useShortcut('c', () => create());

  return (
    <div className="flex min-h-full flex-col">
      <header className="sticky top-0 z-20 flex flex-wrap items-center gap-x-4 bg-surface px-4 desk:h-14 desk:flex-nowrap desk:px-6">
        <h1 className="flex h-14 flex-1 items-center text-20 desk:flex-none">{t('companies.title')}</h1>
        {isEmpty ? null : (
          <>
            <Button variant="primary" onClick={() => create()} className="desk:order-last">
              <Plus aria-hidden className="size-4" />
              {t('companies.new')}
            </Button>
            <div className="flex w-full items-center gap-2 pb-3 desk:w-auto desk:flex-1 desk:pb-0">
              <SearchBox value={state.q} onSearch={(q) => setState({ q })} />
              {isDesk ? null : <SortSelect sort={state.sort} onSort={(sort) => setState({ sort })} />}
            </div>
          </>
        )}
      </header>
      <CompanyList onCreate={create} />
      {draftName === null ? null : <CreateDialog name={draftName} onClose={() => setDraftName(null)} />}
    </div>
  );
}

/** On a phone there are no column headers to sort by. */
function SortSelect({ sort, onSort }: { sort: CompanySort; onSort: (sort: CompanySort) => void }) {
  const t = useT();
  return (
    <Select
      aria-label={t('companies.sort')}
      className="w-32 shrink-0"
      value={sort}
      onChange={(event) => onSort(event.target.value === 'name' ? 'name' : '-updatedAt')}
    >
      <option value="-updatedAt">{t('companies.sort.updated')}</option>
      <option value="name">{t('companies.sort.name')}</option>
    </Select>
  );
}

function CompanyList({ onCreate }: { onCreate: (name?: string) => void }) {
  const t = useT();
  const isDesk = useIsDesk();
  const [state, setState] = useListState();
  const query = state.q;
  const list = useCompanies(state);
  const canLoadMore = list.hasNextPage && !list.isFetchingNextPage && !list.isFetchNextPageError;
  const endRef = useInView(() => void list.fetchNextPage(), canLoadMore);
  useRowKeys();

  if (list.isError && list.data === undefined) {
    return (
      <EmptyState
        icon={<CircleAlert aria-hidden className="size-8" strokeWidth={1.5} />}
        title={t('companies.failed.title')}
        text={errorText(list.error, t)}
        action={
          <Button busy={list.isFetching} onClick={() => void list.refetch()}>
            {t('action.retry')}
          </Button>
        }
      />
    );
  }
  const companies = list.data?.pages.flatMap((page) => page.items) ?? [];
  const isFirstLoad = list.isPending;
  if (!isFirstLoad && !list.isPlaceholderData && companies.length === 0) return <Nothing query={query} onCreate={onCreate} />;

  const pendingRows = isFirstLoad ? 12 : list.isFetchingNextPage ? 3 : 0;
  return (
    <div className={cx('transition-opacity duration-120', list.isPlaceholderData && 'opacity-60')} aria-busy={list.isFetching}>
      <p role="status" className="sr-only">
        {isFirstLoad ? t('companies.loading') : list.isFetchingNextPage ? t('companies.loadingMore') : ''}
      </p>
      {isDesk ? (
        <CompanyTable
          companies={companies}
          query={query}
          sort={state.sort}
          onSort={(sort) => setState({ sort })}
          pendingRows={pendingRows}
        />
      ) : (
        <CompanyCards companies={companies} query={query} pendingRows={pendingRows} />
      )}
      {isFirstLoad ? null : (
        <footer ref={endRef} className="flex min-h-14 items-center justify-center gap-4 px-4 py-2 text-12 text-muted">
          <span role="status">{t(list.hasNextPage ? 'companies.count.more' : 'companies.count.all', { count: companies.length })}</span>
          {list.isFetchNextPageError ? <span>{errorText(list.error, t)}</span> : null}
          {list.hasNextPage ? (
            <Button busy={list.isFetchingNextPage} onClick={() => void list.fetchNextPage()}>
              {t('companies.loadMore')}
            </Button>
          ) : null}
        </footer>
      )}
    </div>
  );
}

function Nothing({ query, onCreate }: { query: string; onCreate: (name?: string) => void }) {
  const t = useT();
  if (query === '') {
    return (
      <EmptyState
        icon={<Building2 aria-hidden className="size-8" strokeWidth={1.5} />}
        title={t('companies.empty.title')}
        text={t('companies.empty.text')}
        action={
          <Button variant="primary" onClick={() => onCreate()}>
            <Plus aria-hidden className="size-4" />
            {t('companies.empty.action')}
          </Button>
        }
      />
    );
  }
  return (
    <EmptyState
      icon={<SearchX aria-hidden className="size-8" strokeWidth={1.5} />}
      title={t('companies.none.title', { query })}
      text={t('companies.none.text')}
      action={<Button onClick={() => onCreate(query)}>{t('companies.none.create', { query })}</Button>}
    />
  );
}
