import { useInfiniteQuery, useMutation, useQuery, useQueryClient, type QueryClient } from '@tanstack/react-query';
import {
  createCompany,
  getCompany,
  listCompanies,
  listCompanyAudit,
  updateCompany,
  type CompanyQuery,
} from '../../api/companies';
import type { Company, CompanyPatch } from '../../api/types';

const LIST = ['companies'] as const;
const recordKey = (id: string) => ['company', id] as const;
const auditKey = (id: string) => ['company', id, 'audit'] as const;

export function useCompanies(query: CompanyQuery) {
  return useInfiniteQuery({
    queryKey: [...LIST, query],
    queryFn: ({ pageParam, signal }) => listCompanies(query, pageParam, signal),
    initialPageParam: null as string | null,
    getNextPageParam: (last) => last.nextCursor ?? null,
    // While the next answer is on its way the last one stays, dimmed, instead of a flash of nothing.
    placeholderData: (previous) => previous,
  });
}

export function useCompany(id: string) {
  return useQuery({ queryKey: recordKey(id), queryFn: ({ signal }) => getCompany(id, signal) });
}

export function useCompanyAudit(id: string) {
  return useInfiniteQuery({
    queryKey: auditKey(id),
    queryFn: ({ pageParam, signal }) => listCompanyAudit(id, pageParam, signal),
    initialPageParam: null as string | null,
    getNextPageParam: (last) => last.nextCursor ?? null,
  });
}

export function useCreateCompany() {
  const client = useQueryClient();
  return useMutation({
    mutationFn: createCompany,
    onSuccess: (company) => remember(client, company),
  });
}

export function useUpdateCompany(id: string) {
  const client = useQueryClient();
  return useMutation({
    mutationFn: ({ version, patch }: { version: number; patch: CompanyPatch }) => updateCompany(id, version, patch),
    onSuccess: (result) => remember(client, result.kind === 'saved' ? result.company : result.current),
  });
}

function remember(client: QueryClient, company: Company): void {
  client.setQueryData(recordKey(company.id), company);
  void client.invalidateQueries({ queryKey: LIST });
  void client.invalidateQueries({ queryKey: auditKey(company.id) });
}
