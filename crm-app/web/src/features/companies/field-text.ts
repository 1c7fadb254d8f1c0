import type { Key } from '../../i18n';
import { useT } from '../../i18n/context';
import { useSignedIn } from '../session/session';

/** A field's value as people read it, or null when there is none. */
export function useFieldText(): (field: string, value: unknown) => string | null {
  const t = useT();
  const { format } = useSignedIn();
  return (field, value) => {
    if (value === null || value === undefined || value === '') return null;
    if (typeof value === 'object') return nameOf(value);
    const text = String(value);
    if (field === 'nextContactOn') return format.day(text);
    if (field === 'annualRevenue') return format.money(text);
    if (field === 'level') return t(`company.level.${text}` as Key);
    return text;
  };
}

/** The audit log may hold a person as an object with a name. */
function nameOf(value: object): string | null {
  return 'name' in value && typeof value.name === 'string' ? value.name : null;
}
