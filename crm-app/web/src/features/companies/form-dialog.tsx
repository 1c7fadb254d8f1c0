import { useEffect, useState, type FormEvent, type ReactNode } from 'react';
import { useT } from '../../i18n/context';
import { Button } from '../../ui/button';
import { Dialog, DialogActions, DialogBody } from '../../ui/dialog';
import { Notice } from '../../ui/feedback';
import { isSubmitKey } from '../../ui/shortcuts';
import { errorText } from '../shell/error-text';
import { CompanyForm } from './company-form';
import type { useDraft } from './draft-state';
import type { FieldName } from './fields';

interface FormDialogProps {
  title: string;
  form: ReturnType<typeof useDraft>;
  fields: readonly FieldName[];
  isSaving: boolean;
  error: unknown;
  note?: ReactNode;
  onSubmit: () => void;
  onClose: () => void;
}

/** A company's fields in a dialog or sheet. Leaving with something typed in asks first. */
export function FormDialog({ title, form, fields, isSaving, error, note, onSubmit, onClose }: FormDialogProps) {
  const t = useT();
  const [isAsking, setIsAsking] = useState(false);
  const mustAsk = form.isDirty && !isSaving;

  useEffect(() => {
    if (!mustAsk) return;
    const warn = (event: BeforeUnloadEvent) => event.preventDefault();
    window.addEventListener('beforeunload', warn);
    return () => window.removeEventListener('beforeunload', warn);
  }, [mustAsk]);

  const submit = (event?: FormEvent) => {
    event?.preventDefault();
    if (!isSaving && form.check()) onSubmit();
  };

  return (
    <Dialog
      title={title}
      closeLabel={t('action.close')}
      onClose={onClose}
      mayClose={() => {
        if (mustAsk) setIsAsking(true);
        return !mustAsk;
      }}
    >
      <form
        ref={form.formRef}
        noValidate
        onSubmit={submit}
        onKeyDown={(event) => {
          if (isSubmitKey(event)) submit(event);
        }}
        className="flex min-h-0 flex-1 flex-col"
      >
        <DialogBody>
          {error && Object.keys(form.errors).length === 0 ? (
            <Notice tone="warn" role="alert">{errorText(error, t)}</Notice>
          ) : null}
          <CompanyForm draft={form.draft} errors={form.errors} fields={fields} onChange={form.change} />
          {note ? <p className="text-12 text-muted">{note}</p> : null}
        </DialogBody>
        {isAsking ? (
          <LeaveQuestion onStay={() => setIsAsking(false)} onLeave={onClose} />
        ) : (
          <DialogActions>
            <Button type="submit" variant="primary" busy={isSaving}>
              {t(isSaving ? 'action.saving' : 'action.save')}
            </Button>
            <Button onClick={() => (mustAsk ? setIsAsking(true) : onClose())}>{t('action.cancel')}</Button>
          </DialogActions>
        )}
      </form>
    </Dialog>
  );
}

/** Takes the place of the buttons: no dialog on top of a dialog. */
function LeaveQuestion({ onStay, onLeave }: { onStay: () => void; onLeave: () => void }) {
  const t = useT();
  return (
    <div role="alertdialog" aria-label={t('form.unsaved.title')}>
      <div className="border-t border-line bg-warn-wash px-4 py-3 desk:px-6">
        <p className="font-semibold">{t('form.unsaved.title')}</p>
        <p className="text-13 text-muted">{t('form.unsaved.text')}</p>
      </div>
      <DialogActions>
        <Button variant="primary" autoFocus onClick={onStay}>
          {t('action.keepEditing')}
        </Button>
        <Button onClick={onLeave}>{t('action.discard')}</Button>
      </DialogActions>
    </div>
  );
}
