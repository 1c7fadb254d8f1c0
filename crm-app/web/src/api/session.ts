import { client, dataOf, setCsrfToken } from './http';
import { isProblem } from './problem';
import type { LinkInfo, PublicWorkspace, Session } from './types';

/** The session, or null when nobody is signed in. */
export async function getSession(signal?: AbortSignal): Promise<Session | null> {
  try {
    return remember(await dataOf(client.GET('/api/v1/session', { signal })));
  } catch (error) {
    if (isProblem(error, 'unauthorized')) return null;
    throw error;
  }
}

export async function signIn(email: string, password: string): Promise<Session> {
  return remember(await dataOf(client.POST('/api/v1/session', { body: { email, password } })));
}

export async function signOut(): Promise<void> {
  await dataOf(client.DELETE('/api/v1/session'));
  setCsrfToken(null);
}

export function getPublicWorkspace(signal?: AbortSignal): Promise<PublicWorkspace> {
  return dataOf(client.GET('/api/v1/workspace', { signal }));
}

/** Looks at a one-time link without spending it. */
export function inspectLink(token: string, signal?: AbortSignal): Promise<LinkInfo> {
  return dataOf(client.POST('/api/v1/welcome/inspect', { body: { token }, signal }));
}

/** Spends a one-time link: sets the password and signs in. */
export async function spendLink(token: string, password: string): Promise<Session> {
  return remember(await dataOf(client.POST('/api/v1/welcome', { body: { token, password } })));
}

function remember(session: Session): Session {
  setCsrfToken(session.csrfToken);
  return session;
}
