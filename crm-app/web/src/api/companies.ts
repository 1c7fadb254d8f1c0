import { request } from './http';
import { ApiError, isProblem } from './problem';
import type { AuditEntry, Company, CompanyFields, CompanyPatch, CompanySort, Page } from './types';

export interface CompanyQuery {
  q: string;
  sort: CompanySort;
}

export function listCompanies(query: CompanyQuery, cursor: string | null, signal?: AbortSignal): Promise<Page<Company>> {
  const params = new URLSearchParams({ sort: query.sort, limit: '50' });
  if (query.q !== '') params.set('q', query.q);
  if (cursor !== null) params.set('cursor', cursor);
  return request('GET', `/companies?${params.toString()}`, { signal });
}

/** The id comes from the caller, so that sending the same form twice makes one company. */
export function createCompany(id: string, fields: CompanyFields): Promise<Company> {
  return request('POST', '/companies', { body: { id, ...fields } });
}

export function getCompany(id: string, signal?: AbortSignal): Promise<Company> {
  return request('GET', `/companies/${encodeURIComponent(id)}`, { signal });
}

export type UpdateResult = { kind: 'saved'; company: Company } | { kind: 'stale'; current: Company };

/** Saves against the version that the person saw. Someone else's newer version is an answer, not a failure. */
export async function updateCompany(id: string, version: number, patch: CompanyPatch): Promise<UpdateResult> {
  try {
    const company = await request<Company>('PATCH', `/companies/${encodeURIComponent(id)}`, {
      body: patch,
      headers: { 'If-Match': `"${version}"` },
    });
    return { kind: 'saved', company };
  } catch (error) {
    if (!isProblem(error, 'stale')) throw error;
    return { kind: 'stale', current: currentOf(error) };
  }
}

export function listCompanyAudit(id: string, cursor: string | null, signal?: AbortSignal): Promise<Page<AuditEntry>> {
  const params = new URLSearchParams({ limit: '20' });
  if (cursor !== null) params.set('cursor', cursor);
  return request('GET', `/companies/${encodeURIComponent(id)}/audit?${params.toString()}`, { signal });
}

function currentOf(error: ApiError): Company {
  const current = error.document['current'];
  if (typeof current === 'object' && current !== null) return current as Company;
  throw error;
}
