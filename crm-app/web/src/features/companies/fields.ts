/** What a company has, how it is typed in, and what is wrong with a value before the server is asked. */
import type { Company, CompanyPatch, Level, NewCompany } from '../../api/types';
import { parseAmount } from './amount';

export type FieldName = Exclude<keyof NewCompany, 'id'>;
export type Draft = Record<FieldName, string>;
export type DraftErrors = Partial<Record<FieldName, string>>;

export const FIELD_NAMES: readonly FieldName[] = [
  'name',
  'shortName',
  'level',
  'nextContactOn',
  'ownerId',
  'phone',
  'email',
  'website',
  'address',
  'industry',
  'annualRevenue',
  'uscc',
];

export const LEVELS: readonly Level[] = ['A', 'B', 'C'];

export function emptyDraft(name = ''): Draft {
  return {
    name,
    shortName: '',
    level: '',
    nextContactOn: '',
    ownerId: '',
    phone: '',
    email: '',
    website: '',
    address: '',
    industry: '',
    annualRevenue: '',
    uscc: '',
  };
}

export function draftOf(company: Company): Draft {
  const draft = emptyDraft();
  for (const field of FIELD_NAMES) draft[field] = company[field] ?? '';
  return draft;
}

/** The draft as the API wants it: trimmed, empty is null, amounts written out. */
export function valuesOf(draft: Draft): NewCompany {
  const values: NewCompany = { name: draft.name.trim() };
  for (const field of FIELD_NAMES) {
    if (field === 'name') continue;
    const text = draft[field].trim();
    Object.assign(values, { [field]: text === '' ? null : field === 'annualRevenue' ? (parseAmount(text) ?? text) : text });
  }
  return values;
}

/** Only what differs from the record as it was when editing began. */
export function patchOf(base: Company, draft: Draft): CompanyPatch {
  const values = valuesOf(draft);
  const patch: CompanyPatch = {};
  for (const field of FIELD_NAMES) {
    if (!sameValue(field, values[field], base[field])) Object.assign(patch, { [field]: values[field] });
  }
  return patch;
}

export function sameValue(field: FieldName, left: string | null | undefined, right: string | null | undefined): boolean {
  if (field === 'annualRevenue' && left && right) return parseAmount(left) === parseAmount(right);
  return (left ?? '') === (right ?? '');
}

/** Error codes by field, in the words of the API, for what can be known without it. */
export function checkDraft(draft: Draft): DraftErrors {
  const errors: DraftErrors = {};
  if (draft.name.trim() === '') errors.name = 'required';
  if (draft.email.trim() !== '' && !/^[^\s@]+@[^\s@]+\.[^\s@]+$/.test(draft.email.trim())) errors.email = 'format';
  if (draft.phone.trim() !== '' && !/^[\d\s+().-]{3,}$/.test(draft.phone.trim().normalize('NFKC'))) errors.phone = 'format';
  if (draft.uscc.trim() !== '' && !/^[0-9A-Za-z]{18}$/.test(draft.uscc.trim())) errors.uscc = 'format';
  if (draft.annualRevenue.trim() !== '' && parseAmount(draft.annualRevenue) === null) errors.annualRevenue = 'format';
  return errors;
}

export function isFieldName(value: string): value is FieldName {
  return (FIELD_NAMES as readonly string[]).includes(value);
}
