import { client, dataOf } from './http';
import { isProblem } from './problem';
import type { AuditEntry, Company, CompanyPatch, CompanySort, NewCompany } from './types';

const PAGE_ROWS = 50;
const AUDIT_ROWS = 20;

export interface CompanyQuery {
  q: string;
  sort: CompanySort;
}

export interface Page<T> {
  items: T[];
  nextCursor?: string | null;
}

export function listCompanies({ q, sort }: CompanyQuery, cursor: string | null, signal?: AbortSignal): Promise<Page<Company>> {
  const query = { sort, limit: PAGE_ROWS, ...(q === '' ? {} : { q }), ...(cursor === null ? {} : { cursor }) };
  return dataOf(client.GET('/api/v1/companies', { params: { query }, signal }));
}

/** The caller makes the id, so that sending the same form twice makes one company. */
export function createCompany(company: NewCompany & { id: string }): Promise<Company> {
  return dataOf(client.POST('/api/v1/companies', { body: company }));
}

export function getCompany(id: string, signal?: AbortSignal): Promise<Company> {
  return dataOf(client.GET('/api/v1/companies/{id}', { params: { path: { id } }, signal }));
}

export type UpdateResult = { kind: 'saved'; company: Company } | { kind: 'stale'; current: Company };

/** Saves against the version that the person saw. Someone else's newer version is an answer, not a failure. */
export async function updateCompany(id: string, version: number, patch: CompanyPatch): Promise<UpdateResult> {
  const params = { path: { id }, header: { 'If-Match': `"${version}"` } };
  try {
    return { kind: 'saved', company: await dataOf(client.PATCH('/api/v1/companies/{id}', { params, body: patch })) };
  } catch (error) {
    if (!isProblem(error, 'stale') || error.current === undefined) throw error;
    return { kind: 'stale', current: error.current };
  }
}

export function listCompanyAudit(id: string, cursor: string | null, signal?: AbortSignal): Promise<Page<AuditEntry>> {
  const query = { limit: AUDIT_ROWS, ...(cursor === null ? {} : { cursor }) };
  return dataOf(client.GET('/api/v1/companies/{id}/audit', { params: { path: { id }, query }, signal }));
}
