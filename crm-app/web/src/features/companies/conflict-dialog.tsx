import { useState } from 'react';
import { useT } from '../../i18n/context';
import { Button } from '../../ui/button';
import { cx } from '../../ui/class-names';
import { Dialog, DialogActions, DialogBody } from '../../ui/dialog';
import type { Choices, FieldConflict } from './merge';
import { useFieldText } from './field-text';

interface ConflictDialogProps {
  conflicts: readonly FieldConflict[];
  isSaving: boolean;
  onSave: (choices: Choices) => void;
  onBack: () => void;
}

/** Theirs, mine and what it was, field by field. Mine is chosen at first: it is what the person came to do. */
export function ConflictDialog({ conflicts, isSaving, onSave, onBack }: ConflictDialogProps) {
  const t = useT();
  const [choices, setChoices] = useState<Choices>(() =>
    Object.fromEntries(conflicts.map(({ field }) => [field, 'mine'])),
  );
  return (
    <Dialog title={t('conflict.title')} closeLabel={t('action.back')} onClose={onBack}>
      <DialogBody>
        <p className="text-muted">{t('conflict.lead')}</p>
        {conflicts.map((conflict) => (
          <ConflictField
            key={conflict.field}
            conflict={conflict}
            choice={choices[conflict.field] ?? 'mine'}
            onChoose={(choice) => setChoices({ ...choices, [conflict.field]: choice })}
          />
        ))}
      </DialogBody>
      <DialogActions>
        <Button variant="primary" busy={isSaving} onClick={() => onSave(choices)}>
          {t('conflict.save')}
        </Button>
        <Button onClick={onBack}>{t('conflict.back')}</Button>
      </DialogActions>
    </Dialog>
  );
}

interface ConflictFieldProps {
  conflict: FieldConflict;
  choice: 'theirs' | 'mine';
  onChoose: (choice: 'theirs' | 'mine') => void;
}

function ConflictField({ conflict, choice, onChoose }: ConflictFieldProps) {
  const t = useT();
  const fieldText = useFieldText();
  const { field, original } = conflict;
  const shown = (value: string | null) => fieldText(field, value) ?? t('conflict.empty');
  return (
    <fieldset>
      <legend className="mb-1 flex w-full items-baseline gap-2">
        <span className="font-semibold">{t(`company.field.${field}`)}</span>
        <span className="text-12 text-muted">
          {t('conflict.original')} {shown(original)}
        </span>
      </legend>
      <div className="grid gap-2 desk:grid-cols-2">
        {(['theirs', 'mine'] as const).map((side) => (
          <label
            key={side}
            className={cx(
              'relative flex flex-col rounded-md border px-3 py-2 has-focus-visible:outline-2 has-focus-visible:outline-offset-2 has-focus-visible:outline-accent',
              choice === side ? 'border-accent bg-tint' : 'border-line hover:bg-wash',
            )}
          >
            <input
              type="radio"
              name={`conflict-${field}`}
              className="absolute inset-0 cursor-pointer opacity-0"
              checked={choice === side}
              onChange={() => onChoose(side)}
            />
            <span className={cx('text-12', choice === side ? 'font-semibold text-accent' : 'text-muted')}>{t(`conflict.${side}`)}</span>
            <span>{shown(conflict[side])}</span>
          </label>
        ))}
      </div>
    </fieldset>
  );
}
