import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import type { User, UserPatch } from '../../api/types';
import { inviteUser, listUsers, renewLink, updateUser } from '../../api/users';

const USERS = ['users'] as const;

export function useUsers() {
  return useQuery({ queryKey: USERS, queryFn: ({ signal }) => listUsers(signal) });
}

export function useInviteUser() {
  const client = useQueryClient();
  return useMutation({ mutationFn: inviteUser, onSettled: () => client.invalidateQueries({ queryKey: USERS }) });
}

export function useUpdateUser() {
  const client = useQueryClient();
  return useMutation({
    mutationFn: ({ id, patch }: { id: string; patch: UserPatch }) => updateUser(id, patch),
    onSettled: () => client.invalidateQueries({ queryKey: USERS }),
  });
}

export function useRenewLink() {
  return useMutation({ mutationFn: renewLink });
}

/** An invitation holds a seat from the start, so that whoever accepts it gets in. */
export function takesSeat(user: User): boolean {
  return user.status !== 'deactivated';
}
