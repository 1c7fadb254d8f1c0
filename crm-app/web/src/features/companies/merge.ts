/** Two people changed one company: what merges by itself, and what a person must decide. */
import type { Company, CompanyPatch } from '../../api/types';
import { FIELD_NAMES, sameValue, type FieldName } from './fields';

export interface FieldConflict {
  field: FieldName;
  original: string | null;
  theirs: string | null;
  mine: string | null;
}

export interface Merge {
  /** My changes that still make sense on top of theirs. */
  patch: CompanyPatch;
  /** Fields that both changed, to different values. */
  conflicts: FieldConflict[];
}

export function merge(base: Company, theirs: Company, mine: CompanyPatch): Merge {
  const patch: CompanyPatch = {};
  const conflicts: FieldConflict[] = [];
  for (const field of FIELD_NAMES) {
    const wanted = mine[field];
    if (wanted === undefined || sameValue(field, wanted, theirs[field])) continue;
    if (sameValue(field, base[field], theirs[field])) Object.assign(patch, { [field]: wanted });
    else conflicts.push({ field, original: base[field] ?? null, theirs: theirs[field] ?? null, mine: wanted ?? null });
  }
  return { patch, conflicts };
}

export type Choices = Partial<Record<FieldName, 'theirs' | 'mine'>>;

/** The patch to send once the person has chosen. */
export function resolve({ patch, conflicts }: Merge, choices: Choices): CompanyPatch {
  const resolved: CompanyPatch = { ...patch };
  for (const { field, mine } of conflicts) {
    if (choices[field] === 'mine') Object.assign(resolved, { [field]: mine });
  }
  return resolved;
}
