import { useMutation } from '@tanstack/react-query';
import { Download } from 'lucide-react';
import { useRef, useState, type FormEvent } from 'react';
import { newExitLink } from '../../api/exit-bundle';
import { isProblem } from '../../api/problem';
import type { Translate } from '../../i18n';
import { useT } from '../../i18n/context';
import { Button } from '../../ui/button';
import { download } from '../../ui/download';
import { Notice } from '../../ui/feedback';
import { Field } from '../../ui/field';
import { PasswordInput } from '../session/password-input';
import { useSignedIn } from '../session/session';
import { errorText, fieldErrors, fieldErrorText } from '../shell/error-text';

/** The password once more, and the download begins. Read-only does not matter here: nothing is changed. */
export function ExportForm() {
  const t = useT();
  const { session } = useSignedIn();
  const [password, setPassword] = useState('');
  const [isMissing, setIsMissing] = useState(false);
  const passwordRef = useRef<HTMLInputElement>(null);
  const submit = useMutation({
    mutationFn: () => newExitLink(password),
    onSuccess: ({ link }) => {
      setPassword('');
      download(link);
    },
    onError: () => passwordRef.current?.select(),
  });
  const onSubmit = (event: FormEvent) => {
    event.preventDefault();
    setIsMissing(password === '');
    if (password === '') return passwordRef.current?.focus();
    if (!submit.isPending) submit.mutate();
  };
  const code = isMissing ? 'required' : fieldErrors(submit.error)['password'];

  return (
    <form noValidate onSubmit={onSubmit} className="mt-6 flex max-w-96 flex-col gap-4">
      {submit.isError && code === undefined ? (
        <Notice tone="warn" role="alert">{exportError(submit.error, t)}</Notice>
      ) : null}
      {submit.isSuccess ? (
        <Notice tone="info" role="status">
          <p className="font-semibold">{t('export.started')}</p>
          <p>{t('export.started.text')}</p>
        </Notice>
      ) : null}
      <input type="email" name="email" autoComplete="username" value={session.user.email} readOnly hidden />
      <Field
        label={t('export.password')}
        hint={t('export.password.hint')}
        error={code === undefined ? undefined : fieldErrorText('password', code, t)}
      >
        {(ids) => (
          <PasswordInput
            {...ids}
            ref={passwordRef}
            name="password"
            autoComplete="current-password"
            value={password}
            onChange={(event) => setPassword(event.target.value)}
          />
        )}
      </Field>
      <Button type="submit" variant="primary" busy={submit.isPending} className="self-start">
        <Download aria-hidden className="size-4" />
        {t('export.submit')}
      </Button>
    </form>
  );
}

function exportError(error: unknown, t: Translate): string {
  if (!isProblem(error, 'rate-limited') || error.retryAfterSeconds === undefined) return errorText(error, t);
  return t('export.error.rateLimited', { minutes: Math.ceil(error.retryAfterSeconds / 60) });
}
