/** Errors as the API reports them (RFC 9457), and the one that never reaches it: no network, or no answer in time. */
import type { components } from './schema';

type Problem = components['schemas']['Problem'];
type ServerProblemType = components['schemas']['ProblemType'];

export type ProblemType = ServerProblemType | 'offline';

// A record, so that a kind which the server adds does not compile until it is named here.
const KNOWN: Record<ServerProblemType, true> = {
  unauthorized: true,
  forbidden: true,
  'read-only': true,
  'not-found': true,
  invalid: true,
  conflict: true,
  stale: true,
  'seat-limit': true,
  'link-invalid': true,
  'export-running': true,
  'export-unavailable': true,
  'rate-limited': true,
  internal: true,
  unavailable: true,
};

export class ApiError extends Error {
  readonly type: ProblemType;
  readonly status: number;
  /** Which fields were refused, and why. */
  readonly fields: NonNullable<Problem['errors']>;
  /** With `stale`: the record as it is now. */
  readonly current: Problem['current'];
  readonly retryAfterSeconds: number | undefined;

  constructor(type: ProblemType, status: number, problem: Partial<Problem> = {}, retryAfterSeconds?: number) {
    super(problem.detail ?? type);
    this.name = 'ApiError';
    this.type = type;
    this.status = status;
    this.fields = problem.errors ?? [];
    this.current = problem.current;
    this.retryAfterSeconds = retryAfterSeconds;
  }
}

export function isProblem(error: unknown, type: ProblemType): error is ApiError {
  return error instanceof ApiError && error.type === type;
}

/** An `ApiError` for a failed response; a gateway's HTML page or an empty body still gets a type, from the status. */
export function problemFrom(response: Response, body: unknown): ApiError {
  const isProblemBody = typeof body === 'object' && body !== null && 'type' in body;
  const problem = isProblemBody ? (body as Partial<Problem>) : {};
  const type = problem.type !== undefined && problem.type in KNOWN ? problem.type : typeForStatus(response.status);
  const retryAfter = Number.parseInt(response.headers.get('Retry-After') ?? '', 10);
  return new ApiError(type, response.status, problem, Number.isNaN(retryAfter) ? undefined : retryAfter);
}

function typeForStatus(status: number): ServerProblemType {
  if (status === 401) return 'unauthorized';
  if (status === 403) return 'forbidden';
  if (status === 404) return 'not-found';
  if (status === 409) return 'conflict';
  if (status === 429) return 'rate-limited';
  if (status === 502 || status === 503 || status === 504) return 'unavailable';
  return status < 500 ? 'invalid' : 'internal';
}
