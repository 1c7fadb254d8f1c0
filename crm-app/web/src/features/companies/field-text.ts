import type { Key } from '../../i18n';
import { useT } from '../../i18n/context';
import { useSignedIn } from '../session/session';
import { useUsers } from '../users/queries';

/** A field's value as people read it, or null when there is none. */
export function useFieldText(): (field: string, value: string | null) => string | null {
  const t = useT();
  const { format } = useSignedIn();
  const users = useUsers();
  return (field, value) => {
    if (value === null || value === '') return null;
    if (field === 'ownerId') return users.data?.find(({ id }) => id === value)?.name ?? '…';
    if (field === 'nextContactOn') return format.day(value);
    if (field === 'annualRevenue') return format.money(value);
    if (field === 'level') return t(`company.level.${value}` as Key);
    return value;
  };
}
