/** Who is signed in, and what that allows. */
import { useQuery, type QueryClient } from '@tanstack/react-query';
import { createContext, use, useMemo, type ReactNode } from 'react';
import { getSession, signOut } from '../../api/session';
import type { Session } from '../../api/types';
import { formatter, type Format } from '../../i18n/format';
import { useI18n } from '../../i18n/context';
import { readStored, writeStored } from '../../ui/storage';

const SESSION_KEY = ['session'] as const;
const SHELL_KEY = 'shell';
// The provider may make a workspace read-only at any time; a person should not find out by a failing save.
const REFRESH_MS = 60_000;
const RETRY_MS = 5_000;

export function useSessionQuery() {
  return useQuery({
    queryKey: SESSION_KEY,
    queryFn: async ({ signal }) => {
      const session = await getSession(signal);
      rememberShell(session);
      return session;
    },
    staleTime: REFRESH_MS,
    refetchInterval: (query) => (query.state.status === 'error' ? RETRY_MS : REFRESH_MS),
  });
}

export function putSession(client: QueryClient, session: Session): void {
  rememberShell(session);
  client.setQueryData(SESSION_KEY, session);
}

/** The server no longer knows us: back to the sign-in page, with nothing left of what was loaded. */
export function dropSession(client: QueryClient): void {
  rememberShell(null);
  client.setQueryData(SESSION_KEY, null);
  client.removeQueries({ predicate: (query) => query.queryKey[0] !== SESSION_KEY[0] });
}

export function refreshSession(client: QueryClient): void {
  void client.invalidateQueries({ queryKey: SESSION_KEY });
}

export function useSignOut(): () => Promise<void> {
  return async () => {
    await signOut();
    rememberShell(null);
    // A fresh start leaves nothing of this person in the page's memory.
    window.location.assign('/');
  };
}

/** What the frame of the app shows when it opens without network: names only, no customers' data, no secret. */
function rememberShell(session: Session | null): void {
  writeStored(SHELL_KEY, session && JSON.stringify({ ...session, csrfToken: '' }));
}

export function rememberedShell(): Session | null {
  try {
    return JSON.parse(readStored(SHELL_KEY) ?? 'null') as Session | null;
  } catch {
    return null;
  }
}

interface SignedIn {
  session: Session;
  format: Format;
  canWrite: boolean;
}

const SignedInContext = createContext<SignedIn | null>(null);

export function SignedInProvider({ session, children }: { session: Session; children: ReactNode }) {
  const { locale } = useI18n();
  const { timeZone, currency, state } = session.workspace;
  const format = useMemo(() => formatter(locale, timeZone, currency), [locale, timeZone, currency]);
  const value = useMemo(() => ({ session, format, canWrite: state === 'Active' }), [session, format, state]);
  return <SignedInContext value={value}>{children}</SignedInContext>;
}

export function useSignedIn(): SignedIn {
  const value = use(SignedInContext);
  if (value === null) throw new Error('useSignedIn outside of SignedInProvider');
  return value;
}
