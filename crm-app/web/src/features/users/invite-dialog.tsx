import { useRef, useState, type FormEvent } from 'react';
import type { InvitedUser, Role } from '../../api/types';
import { useT } from '../../i18n/context';
import { Button } from '../../ui/button';
import { Choice } from '../../ui/choice';
import { Dialog, DialogActions, DialogBody } from '../../ui/dialog';
import { Notice } from '../../ui/feedback';
import { Field, TextInput } from '../../ui/field';
import { isSubmitKey } from '../../ui/shortcuts';
import { errorText, fieldErrors, fieldErrorText } from '../shell/error-text';
import { useInviteUser } from './queries';

/** Invites by a link that one hands over oneself: no mail server is needed. */
export function InviteDialog({ onInvited, onClose }: { onInvited: (user: InvitedUser) => void; onClose: () => void }) {
  const t = useT();
  const invite = useInviteUser();
  const formRef = useRef<HTMLFormElement>(null);
  const [name, setName] = useState('');
  const [email, setEmail] = useState('');
  const [role, setRole] = useState<Role>('member');
  const [errors, setErrors] = useState<Record<string, string>>({});

  const show = (found: Record<string, string>) => {
    setErrors(found);
    const fields = [...(formRef.current?.querySelectorAll<HTMLElement>('[name]') ?? [])];
    fields.find((field) => (field.getAttribute('name') ?? '') in found)?.focus();
  };
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (invite.isPending) return;
    const found: Record<string, string> = {};
    if (name.trim() === '') found['name'] = 'required';
    if (!/^[^\s@]+@[^\s@]+\.[^\s@]+$/.test(email.trim())) found['email'] = email.trim() === '' ? 'required' : 'format';
    show(found);
    if (Object.keys(found).length > 0) return;
    invite.mutate(
      { name: name.trim(), email: email.trim(), role },
      { onSuccess: onInvited, onError: (error) => show(fieldErrors(error)) },
    );
  };
  const error = (field: string) => (errors[field] ? fieldErrorText(field, errors[field], t) : undefined);

  return (
    <Dialog title={t('users.invite.title')} closeLabel={t('action.close')} onClose={onClose}>
      <form
        ref={formRef}
        noValidate
        onSubmit={submit}
        onKeyDown={(event) => {
          if (isSubmitKey(event)) submit(event);
        }}
        className="flex min-h-0 flex-1 flex-col"
      >
        <DialogBody>
          {invite.isError && Object.keys(errors).length === 0 ? (
            <Notice tone="warn" role="alert">{errorText(invite.error, t)}</Notice>
          ) : null}
          <Field label={t('users.name')} error={error('name')}>
            {(ids) => <TextInput {...ids} name="name" autoComplete="off" value={name} onChange={(event) => setName(event.target.value)} />}
          </Field>
          <Field label={t('users.email')} error={error('email')}>
            {(ids) => (
              <TextInput
                {...ids}
                name="email"
                type="email"
                autoComplete="off"
                autoCapitalize="off"
                value={email}
                onChange={(event) => setEmail(event.target.value)}
              />
            )}
          </Field>
          <Choice<Role>
            legend={t('users.role')}
            value={role}
            options={[
              { value: 'member', label: t('users.role.member') },
              { value: 'admin', label: t('users.role.admin') },
            ]}
            onChange={setRole}
          />
          <p className="text-12 text-muted">{t('users.role.adminHint')}</p>
        </DialogBody>
        <DialogActions>
          <Button type="submit" variant="primary" busy={invite.isPending}>
            {t('users.invite.submit')}
          </Button>
          <Button onClick={onClose}>{t('action.cancel')}</Button>
        </DialogActions>
      </form>
    </Dialog>
  );
}
