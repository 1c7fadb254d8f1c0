import { useState } from 'react';
import { useLocation } from 'wouter';
import { uuidv7 } from '../../api/uuid';
import { useT } from '../../i18n/context';
import { useToast } from '../../ui/toast';
import { useDraft } from './draft-state';
import { emptyDraft, valuesOf, type FieldName } from './fields';
import { FormDialog } from './form-dialog';
import { useCreateCompany } from './queries';

const QUICK_FIELDS: readonly FieldName[] = ['name', 'phone', 'nextContactOn', 'level'];

/** The few things one knows at first. */
export function CreateDialog({ name, onClose }: { name: string; onClose: () => void }) {
  const t = useT();
  const toast = useToast();
  const [, navigate] = useLocation();
  const form = useDraft(emptyDraft(name));
  // Made once for the form: a second try after a lost answer does not make a second company.
  const [id] = useState(() => uuidv7());
  const create = useCreateCompany();

  const submit = () =>
    create.mutate(
      { ...presentOnly(valuesOf(form.draft)), id },
      {
        onSuccess: (company) => {
          onClose();
          toast('done', t('companies.created', { name: company.name }));
          navigate(`/companies/${company.id}`);
        },
        onError: form.showServerErrors,
      },
    );

  return (
    <FormDialog
      title={t('companies.quickCreate.title')}
      form={form}
      fields={QUICK_FIELDS}
      isSaving={create.isPending}
      error={create.error}
      note={t('companies.quickCreate.more')}
      onSubmit={submit}
      onClose={onClose}
    />
  );
}

function presentOnly<T extends object>(values: T): T {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== null)) as T;
}
