/** The list's search and order live in the address, so that a link, a reload and the back button keep them. */
import { useEffect } from 'react';
import { useLocation, useSearch } from 'wouter';
import type { CompanySort } from '../../api/types';

export interface ListState {
  q: string;
  sort: CompanySort;
}

export function readListState(search: string): ListState {
  const params = new URLSearchParams(search);
  return { q: params.get('q') ?? '', sort: params.get('sort') === 'name' ? 'name' : '-updatedAt' };
}

/** Defaults are left out: the plain list has a plain address. */
export function writeListState({ q, sort }: ListState): string {
  const params = new URLSearchParams();
  if (q !== '') params.set('q', q);
  if (sort !== '-updatedAt') params.set('sort', sort);
  const text = params.toString();
  return text === '' ? '/companies' : `/companies?${text}`;
}

let lastAddress = '/companies';

/** Where the list was left, for the way back from a record. */
export function lastListAddress(): string {
  return lastAddress;
}

export function useListState(): [ListState, (next: Partial<ListState>) => void] {
  const state = readListState(useSearch());
  const [, navigate] = useLocation();
  const address = writeListState(state);
  useEffect(() => {
    lastAddress = address;
  }, [address]);
  return [state, (next) => navigate(writeListState({ ...state, ...next }), { replace: true })];
}
