/** The only place that calls `fetch`. Paths, parameters and answers are checked against the server's `openapi.json`. */
import createClient from 'openapi-fetch';
import { ApiError, problemFrom } from './problem';
import type { paths } from './schema';

const TIMEOUT_MS = 20_000;

// Comes with the session and goes with every unsafe request. Memory only: a reload asks for the session again anyway.
let csrfToken: string | null = null;

export function setCsrfToken(token: string | null): void {
  csrfToken = token;
}

export const client = createClient<paths>({ fetch: fetchInTime, credentials: 'same-origin' });

client.use({
  onRequest: ({ request }) => {
    if (request.method !== 'GET' && csrfToken !== null) request.headers.set('X-CSRF-Token', csrfToken);
    return request;
  },
});

async function fetchInTime(request: Request): Promise<Response> {
  const timeout = AbortSignal.timeout(TIMEOUT_MS);
  try {
    return await fetch(request, { signal: AbortSignal.any([request.signal, timeout]) });
  } catch (cause) {
    // Given up by the page, for instance because the next letter was typed: no failure to tell anybody about.
    if (request.signal.aborted) throw cause;
    throw new ApiError('offline', 0);
  }
}

/** The data of an answer, or its problem as an `ApiError`. */
export async function dataOf<T>(call: Promise<{ data?: T; error?: unknown; response: Response }>): Promise<T> {
  const { data, error, response } = await call;
  if (!response.ok) throw problemFrom(response, error);
  return data as T;
}
