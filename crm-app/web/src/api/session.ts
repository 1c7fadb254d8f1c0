import { request, setCsrfToken } from './http';
import { isProblem } from './problem';
import type { PublicWorkspace, Session, WelcomePreview } from './types';

/** The session, or null when nobody is signed in. */
export async function getSession(signal?: AbortSignal): Promise<Session | null> {
  try {
    return remember(await request<Session>('GET', '/session', { signal }));
  } catch (error) {
    if (isProblem(error, 'unauthorized')) return null;
    throw error;
  }
}

export async function signIn(email: string, password: string): Promise<Session> {
  return remember(await request<Session>('POST', '/session', { body: { email, password } }));
}

export async function signOut(): Promise<void> {
  await request<void>('DELETE', '/session');
  setCsrfToken(null);
}

export function getPublicWorkspace(signal?: AbortSignal): Promise<PublicWorkspace> {
  return request('GET', '/workspace', { signal });
}

/** Looks at a one-time link without spending it. */
export function inspectWelcome(token: string, signal?: AbortSignal): Promise<WelcomePreview> {
  return request('POST', '/welcome/inspect', { body: { token }, signal });
}

/** Spends a one-time link: sets the password and signs in. */
export async function acceptWelcome(token: string, password: string): Promise<Session> {
  return remember(await request<Session>('POST', '/welcome', { body: { token, password } }));
}

function remember(session: Session): Session {
  setCsrfToken(session.csrfToken);
  return session;
}
