import type { InputHTMLAttributes } from 'react';
import type { Key } from '../../i18n';
import { useT } from '../../i18n/context';
import { Choice } from '../../ui/choice';
import { Field, Select, TextInput } from '../../ui/field';
import { fieldErrorText } from '../shell/error-text';
import { useSignedIn } from '../session/session';
import { useUsers } from '../users/queries';
import { parseAmount } from './amount';
import { DayChips } from './day-chips';
import { LEVELS, type Draft, type DraftErrors, type FieldName } from './fields';

interface CompanyFormProps {
  draft: Draft;
  errors: DraftErrors;
  /** Which fields to show, in this order. */
  fields: readonly FieldName[];
  onChange: (field: FieldName, value: string) => void;
}

const INPUTS: Partial<Record<FieldName, InputHTMLAttributes<HTMLInputElement>>> = {
  name: { maxLength: 200, autoComplete: 'off' },
  shortName: { maxLength: 60, autoComplete: 'off' },
  nextContactOn: { type: 'date' },
  phone: { type: 'tel', inputMode: 'tel', autoComplete: 'off' },
  email: { type: 'email', inputMode: 'email', autoComplete: 'off', autoCapitalize: 'off' },
  website: { inputMode: 'url', autoComplete: 'off', autoCapitalize: 'off' },
  address: { maxLength: 300, autoComplete: 'off' },
  industry: { maxLength: 60, autoComplete: 'off' },
  annualRevenue: { autoComplete: 'off' },
  uscc: { maxLength: 18, autoComplete: 'off', autoCapitalize: 'characters', spellCheck: false },
};

export function CompanyForm({ draft, errors, fields, onChange }: CompanyFormProps) {
  const t = useT();
  const { format } = useSignedIn();
  const hint = (field: FieldName): string | undefined => {
    if (field === 'uscc') return t('company.hint.uscc');
    if (field !== 'annualRevenue') return undefined;
    const amount = parseAmount(draft.annualRevenue);
    return amount === null ? t('company.hint.annualRevenue') : format.money(amount);
  };
  return fields.map((field) => {
    if (field === 'level') {
      return <LevelChoice key={field} value={draft.level} onChange={(value) => onChange('level', value)} />;
    }
    if (field === 'ownerId') {
      return <OwnerSelect key={field} value={draft.ownerId} onChange={(value) => onChange('ownerId', value)} />;
    }
    const error = errors[field];
    return (
      <Field
        key={field}
        label={t(`company.field.${field}`)}
        error={error ? fieldErrorText(field, error, t) : undefined}
        hint={hint(field)}
      >
        {(ids) => (
          <>
            <TextInput
              {...ids}
              {...INPUTS[field]}
              name={field}
              required={field === 'name'}
              value={draft[field]}
              onChange={(event) => onChange(field, event.target.value)}
            />
            {field === 'nextContactOn' ? <DayChips value={draft[field]} onChange={(day) => onChange(field, day)} /> : null}
          </>
        )}
      </Field>
    );
  });
}

function OwnerSelect({ value, onChange }: { value: string; onChange: (value: string) => void }) {
  const t = useT();
  const users = useUsers();
  // Whoever has left can keep a company until somebody takes it over, but gets no new one.
  const options = users.data?.filter(({ id, status }) => status !== 'deactivated' || id === value) ?? [];
  return (
    <Field label={t('company.field.ownerId')}>
      {(ids) => (
        <Select {...ids} name="ownerId" value={value} disabled={!users.data} onChange={(event) => onChange(event.target.value)}>
          <option value="">{t('company.owner.none')}</option>
          {options.map(({ id, name }) => (
            <option key={id} value={id}>
              {name}
            </option>
          ))}
        </Select>
      )}
    </Field>
  );
}

function LevelChoice({ value, onChange }: { value: string; onChange: (value: string) => void }) {
  const t = useT();
  return (
    <Choice
      legend={t('company.field.level')}
      value={value}
      options={['', ...LEVELS].map((level) => ({ value: level, label: t(`company.level.${level || 'none'}` as Key) }))}
      onChange={onChange}
    />
  );
}
