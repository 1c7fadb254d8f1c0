import { request } from './http';
import type { InvitedUser, Role, User } from './types';

export function listUsers(signal?: AbortSignal): Promise<{ items: User[] }> {
  return request('GET', '/users', { signal });
}

export function inviteUser(user: { name: string; email: string; role: Role }): Promise<InvitedUser> {
  return request('POST', '/users', { body: user });
}

export function updateUser(id: string, patch: Partial<Pick<User, 'name' | 'role' | 'status'>>): Promise<User> {
  return request('PATCH', `/users/${encodeURIComponent(id)}`, { body: patch });
}
