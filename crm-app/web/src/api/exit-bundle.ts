import { client, dataOf } from './http';
import type { ExitLink } from './types';

/** A link by which everything can be fetched once. The password says that it is still the same person. */
export function newExitLink(password: string): Promise<ExitLink> {
  return dataOf(client.POST('/api/v1/exit-bundle', { body: { password } }));
}
