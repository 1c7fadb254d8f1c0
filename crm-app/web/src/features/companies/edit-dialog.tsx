import { useState } from 'react';
import type { Company, CompanyPatch } from '../../api/types';
import type { Key } from '../../i18n';
import { useT } from '../../i18n/context';
import { useToast } from '../../ui/toast';
import { ConflictDialog } from './conflict-dialog';
import { useDraft } from './draft-state';
import { draftOf, FIELD_NAMES, patchOf } from './fields';
import { FormDialog } from './form-dialog';
import { merge, resolve, type Merge } from './merge';
import { useUpdateCompany } from './queries';

/**
 * Edits against the version that was on the screen when editing began. If somebody else saved meanwhile, changes of
 * different fields merge by themselves; where both changed the same field, the person chooses.
 */
export function EditDialog({ company, onClose }: { company: Company; onClose: () => void }) {
  const t = useT();
  const toast = useToast();
  const [base, setBase] = useState(company);
  const [clash, setClash] = useState<{ merge: Merge; theirs: Company } | null>(null);
  const form = useDraft(draftOf(company));
  const update = useUpdateCompany(company.id);

  const save = (from: Company, patch: CompanyPatch, wasMerged: boolean) => {
    if (Object.keys(patch).length === 0) return done(wasMerged ? 'companies.merged' : 'companies.unchanged');
    update.mutate(
      { version: from.version, patch },
      {
        onSuccess: (result) => {
          if (result.kind === 'saved') return done(wasMerged ? 'companies.merged' : 'companies.saved');
          const merged = merge(from, result.current, patch);
          if (merged.conflicts.length === 0) return save(result.current, merged.patch, true);
          setClash({ merge: merged, theirs: result.current });
        },
        onError: (error) => {
          setClash(null);
          form.showServerErrors(error);
        },
      },
    );
  };

  const done = (message: Key) => {
    onClose();
    toast('done', t(message));
  };

  if (clash !== null) {
    return (
      <ConflictDialog
        conflicts={clash.merge.conflicts}
        isSaving={update.isPending}
        onSave={(choices) => save(clash.theirs, resolve(clash.merge, choices), true)}
        onBack={() => {
          setBase(clash.theirs);
          setClash(null);
        }}
      />
    );
  }
  return (
    <FormDialog
      title={t('companies.edit.title')}
      form={form}
      fields={FIELD_NAMES}
      isSaving={update.isPending}
      error={update.error}
      onSubmit={() => save(base, patchOf(base, form.draft), false)}
      onClose={onClose}
    />
  );
}
