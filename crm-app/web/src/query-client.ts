import { MutationCache, QueryCache, QueryClient } from '@tanstack/react-query';
import { ApiError, isProblem } from './api/problem';
import { dropSession, refreshSession } from './features/session/session';

/** What every failure means, wherever it happens, is handled here once. */
export function makeQueryClient(): QueryClient {
  const onError = (error: unknown) => {
    // On the sign-in page the same answer only means a wrong password.
    if (isProblem(error, 'unauthorized') && client.getQueryData(['session'])) dropSession(client);
    if (isProblem(error, 'read-only')) refreshSession(client);
  };
  const client: QueryClient = new QueryClient({
    queryCache: new QueryCache({ onError }),
    mutationCache: new MutationCache({ onError }),
    defaultOptions: {
      queries: {
        // Without network a query shall fail and say so, not wait for ever.
        networkMode: 'always',
        retry: (failures, error) => failures < 2 && isPassing(error) && navigator.onLine,
        retryDelay: (failures) => 400 * 2 ** failures,
        staleTime: 10_000,
      },
      mutations: { networkMode: 'always', retry: false },
    },
  });
  // The library's own watch believes that the page started with network, and sleeps through its return when it did not.
  window.addEventListener('online', () => void client.refetchQueries({ type: 'active', stale: true }));
  return client;
}

function isPassing(error: unknown): boolean {
  return error instanceof ApiError && (error.type === 'offline' || error.type === 'unavailable');
}
