import { request } from './http';
import type { InvitedUser, OneTimeLink, Role, User } from './types';

export function listUsers(signal?: AbortSignal): Promise<{ items: User[] }> {
  return request('GET', '/users', { signal });
}

export function inviteUser(user: { name: string; email: string; role: Role }): Promise<InvitedUser> {
  return request('POST', '/users', { body: user });
}

export function updateUser(id: string, patch: Partial<Pick<User, 'name' | 'role' | 'status'>>): Promise<User> {
  return request('PATCH', `/users/${encodeURIComponent(id)}`, { body: patch });
}

/** A new one-time link for a person who lost theirs, or their password. */
export function renewLink(id: string): Promise<OneTimeLink> {
  return request('POST', `/users/${encodeURIComponent(id)}/link`);
}
