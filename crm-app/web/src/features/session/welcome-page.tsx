import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useRef, useState, type FormEvent } from 'react';
import { Link } from 'wouter';
import { isProblem } from '../../api/problem';
import { inspectLink, spendLink } from '../../api/session';
import type { LinkInfo } from '../../api/types';
import { useT } from '../../i18n/context';
import { Button } from '../../ui/button';
import { cx } from '../../ui/class-names';
import { Notice, Skeleton } from '../../ui/feedback';
import { Field, TextInput } from '../../ui/field';
import { useDocumentTitle } from '../../ui/hooks';
import { errorText, fieldErrors, fieldErrorText } from '../shell/error-text';
import { SessionFrame } from './frame';
import { PASSWORD_MIN, passwordStrength, type Strength } from './password';
import { PasswordInput } from './password-input';
import { putSession } from './session';

/**
 * The page behind a one-time link. The token is in the fragment, so no server log has it, and it is spent only when the
 * person sends the form: a preview in a chat that opens the page spends nothing.
 */
export default function WelcomePage({ onEntered }: { onEntered: () => void }) {
  const [token] = useState(() => decodeURIComponent(window.location.hash.slice(1)));
  const preview = useQuery({
    queryKey: ['welcome', token],
    queryFn: ({ signal }) => inspectLink(token, signal),
    enabled: token !== '',
    gcTime: 0,
  });
  if (token === '') return <Unusable kind="incomplete" />;
  if (isProblem(preview.error, 'link-invalid') || isProblem(preview.error, 'not-found')) return <Unusable kind="invalid" />;
  if (preview.isError) return <Unreachable error={preview.error} onRetry={() => void preview.refetch()} />;
  if (preview.isPending) return <Checking />;
  return <ChoosePassword token={token} preview={preview.data} onEntered={onEntered} />;
}

function ChoosePassword({ token, preview, onEntered }: { token: string; preview: LinkInfo; onEntered: () => void }) {
  const t = useT();
  const client = useQueryClient();
  const [password, setPassword] = useState('');
  const [isRefused, setIsRefused] = useState(false);
  const passwordRef = useRef<HTMLInputElement>(null);
  useDocumentTitle(preview.displayName);
  const submit = useMutation({
    mutationFn: () => spendLink(token, password),
    onSuccess: (session) => {
      putSession(client, session);
      onEntered();
    },
    onError: () => passwordRef.current?.focus(),
  });
  if (isProblem(submit.error, 'link-invalid')) return <Unusable kind="invalid" />;

  const strength = passwordStrength(password);
  const onSubmit = (event: FormEvent) => {
    event.preventDefault();
    setIsRefused(strength.level === 'short');
    if (strength.level === 'short') return passwordRef.current?.focus();
    if (!submit.isPending) submit.mutate();
  };
  const code = isRefused && strength.level === 'short' ? 'too-short' : fieldErrors(submit.error)['password'];

  return (
    <SessionFrame>
      <h1 className="text-28 text-balance">{t('welcome.title', { name: preview.name })}</h1>
      <p className="mt-2 mb-6 text-muted">{t('welcome.lead', { workspace: preview.displayName })}</p>
      <form noValidate onSubmit={onSubmit} className="flex flex-col gap-4">
        {submit.isError && code === undefined ? (
          <Notice tone="warn" role="alert">{errorText(submit.error, t)}</Notice>
        ) : null}
        {/* A real field, read-only: password managers save the name together with the password. */}
        <Field label={t('welcome.account')}>
          {(ids) => (
            <TextInput
              {...ids}
              name="username"
              autoComplete="username"
              readOnly
              tabIndex={-1}
              value={preview.email}
              className="border-transparent bg-wash hover:border-transparent"
            />
          )}
        </Field>
        <Field label={t('welcome.password')} error={code && fieldErrorText('password', code, t)} hint={<StrengthHint password={password} strength={strength} />}>
          {(ids) => (
            <PasswordInput
              {...ids}
              ref={passwordRef}
              name="new-password"
              autoComplete="new-password"
              autoFocus
              value={password}
              onChange={(event) => {
                setPassword(event.target.value);
                submit.reset();
              }}
            />
          )}
        </Field>
        <Button type="submit" variant="primary" busy={submit.isPending} className="mt-2">
          {t('welcome.submit')}
        </Button>
      </form>
      <p className="mt-6 text-13 text-muted">{t('welcome.once')}</p>
    </SessionFrame>
  );
}

const STEPS: Record<Strength['level'], number> = { short: 1, weak: 2, fair: 3, strong: 4 };

function StrengthHint({ password, strength }: { password: string; strength: Strength }) {
  const t = useT();
  if (password === '') return t('password.hint', { min: PASSWORD_MIN });
  const steps = STEPS[strength.level];
  const isEnough = steps >= 3;
  return (
    <span className="flex items-center gap-2" aria-live="polite">
      <span aria-hidden className="flex gap-1">
        {[1, 2, 3, 4].map((step) => (
          <span key={step} className={cx('h-1 w-6 rounded-full', step > steps ? 'bg-line' : isEnough ? 'bg-won' : 'bg-warn')} />
        ))}
      </span>
      {strength.level === 'short'
        ? t('password.short', { missing: strength.missing })
        : t(`password.${strength.level}`)}
    </span>
  );
}

function Unusable({ kind }: { kind: 'invalid' | 'incomplete' }) {
  const t = useT();
  useDocumentTitle(t(`welcome.${kind}.title`));
  return (
    <SessionFrame>
      <h1 className="text-20">{t(`welcome.${kind}.title`)}</h1>
      <p className="mt-2 text-muted">{t(`welcome.${kind}.text`)}</p>
      {kind === 'invalid' ? (
        <ul className="mt-4 flex list-disc flex-col gap-1 pl-4 text-muted">
          <li>{t('welcome.invalid.used')}</li>
          <li>{t('welcome.invalid.ask')}</li>
        </ul>
      ) : null}
      <Link
        href="/"
        className="mt-6 inline-flex min-h-11 items-center justify-center rounded-md border border-line bg-surface px-4 font-semibold hover:bg-wash desk:min-h-9"
      >
        {t('welcome.toSignIn')}
      </Link>
    </SessionFrame>
  );
}

function Unreachable({ error, onRetry }: { error: unknown; onRetry: () => void }) {
  const t = useT();
  return (
    <SessionFrame>
      <h1 className="text-20">{t('offline.title')}</h1>
      <p className="mt-2 mb-6 text-muted">{errorText(error, t)}</p>
      <Button onClick={onRetry}>{t('action.retry')}</Button>
    </SessionFrame>
  );
}

function Checking() {
  const t = useT();
  return (
    <SessionFrame>
      <p role="status" className="sr-only">
        {t('welcome.checking')}
      </p>
      <Skeleton className="h-7 w-40" />
      <Skeleton className="mt-4 w-64" />
      <Skeleton className="mt-8 h-9 w-full" />
      <Skeleton className="mt-4 h-9 w-full" />
    </SessionFrame>
  );
}
