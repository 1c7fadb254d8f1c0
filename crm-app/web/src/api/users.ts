import { client, dataOf } from './http';
import type { InvitedUser, NewUser, OneTimeLink, User, UserPatch } from './types';

export async function listUsers(signal?: AbortSignal): Promise<User[]> {
  return (await dataOf(client.GET('/api/v1/users', { signal }))).items;
}

export function inviteUser(user: NewUser): Promise<InvitedUser> {
  return dataOf(client.POST('/api/v1/users', { body: user }));
}

export function updateUser(id: string, patch: UserPatch): Promise<User> {
  return dataOf(client.PATCH('/api/v1/users/{id}', { params: { path: { id } }, body: patch }));
}

/** A new one-time link for a person who lost theirs, or their password. */
export function renewLink(id: string): Promise<OneTimeLink> {
  return dataOf(client.POST('/api/v1/users/{id}/link', { params: { path: { id } } }));
}
