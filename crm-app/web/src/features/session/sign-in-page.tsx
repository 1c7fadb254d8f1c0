import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useEffect, useRef, useState, type FormEvent } from 'react';
import { isProblem } from '../../api/problem';
import { getPublicWorkspace, signIn } from '../../api/session';
import { useI18n } from '../../i18n/context';
import type { Translate } from '../../i18n';
import { Button } from '../../ui/button';
import { Notice } from '../../ui/feedback';
import { Field, TextInput } from '../../ui/field';
import { useDocumentTitle } from '../../ui/hooks';
import { errorText } from '../shell/error-text';
import { SessionFrame } from './frame';
import { PasswordInput } from './password-input';
import { putSession } from './session';

export function SignInPage({ isExpired }: { isExpired: boolean }) {
  const { t, suggestLocale } = useI18n();
  const workspace = useQuery({ queryKey: ['workspace'], queryFn: ({ signal }) => getPublicWorkspace(signal) });
  const suggested = workspace.data?.locale;
  useEffect(() => {
    if (suggested) suggestLocale(suggested);
  }, [suggested, suggestLocale]);
  const name = workspace.data?.displayName;
  useDocumentTitle(name ? `${t('session.signIn.title')} · ${name}` : t('session.signIn.title'));

  return (
    <SessionFrame>
      <h1 className="text-20 text-balance">{name ?? t('session.signIn.title')}</h1>
      <p className="mt-1 mb-6 text-muted">{name ? t('session.signIn.title') : '\u00a0'}</p>
      <SignInForm isExpired={isExpired} />
      <p className="mt-6 text-13 text-muted">{t('session.signIn.help')}</p>
    </SessionFrame>
  );
}

function SignInForm({ isExpired }: { isExpired: boolean }) {
  const { t } = useI18n();
  const client = useQueryClient();
  const [email, setEmail] = useState('');
  const [password, setPassword] = useState('');
  const [missing, setMissing] = useState<'email' | 'password' | null>(null);
  const emailRef = useRef<HTMLInputElement>(null);
  const passwordRef = useRef<HTMLInputElement>(null);
  const submit = useMutation({
    mutationFn: () => signIn(email.trim(), password),
    onSuccess: (session) => putSession(client, session),
    onError: () => passwordRef.current?.select(),
  });

  const onSubmit = (event: FormEvent) => {
    event.preventDefault();
    const gap = email.trim() === '' ? 'email' : password === '' ? 'password' : null;
    setMissing(gap);
    if (gap !== null) return (gap === 'email' ? emailRef : passwordRef).current?.focus();
    if (!submit.isPending) submit.mutate();
  };

  return (
    <form noValidate onSubmit={onSubmit} className="flex flex-col gap-4">
      {submit.isError ? (
        <Notice tone="warn" role="alert">{signInError(submit.error, t)}</Notice>
      ) : isExpired ? (
        <Notice tone="info" role="status">{t('session.expired')}</Notice>
      ) : null}
      <Field label={t('session.email')} error={missing === 'email' ? t('field.required') : undefined}>
        {(ids) => (
          <TextInput
            {...ids}
            ref={emailRef}
            type="email"
            name="email"
            autoComplete="username"
            autoCapitalize="off"
            autoFocus
            value={email}
            onChange={(event) => setEmail(event.target.value)}
          />
        )}
      </Field>
      <Field label={t('session.password')} error={missing === 'password' ? t('field.required') : undefined}>
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
      <Button type="submit" variant="primary" busy={submit.isPending} className="mt-2">
        {t('session.signIn.submit')}
      </Button>
    </form>
  );
}

function signInError(error: unknown, t: Translate): string {
  if (isProblem(error, 'unauthorized')) return t('session.error.unauthorized');
  if (!isProblem(error, 'rate-limited')) return errorText(error, t);
  const seconds = error.retryAfterSeconds;
  return seconds === undefined ? t('session.error.rateLimitedUnknown') : t('session.error.rateLimited', { seconds });
}
