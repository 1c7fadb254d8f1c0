/** Errors as the API reports them (RFC 9457), plus the two that never reach it: no network, no answer in time. */

export type ProblemType =
  | 'unauthorized'
  | 'forbidden'
  | 'read-only'
  | 'not-found'
  | 'invalid'
  | 'conflict'
  | 'stale'
  | 'seat-limit'
  | 'link-invalid'
  | 'rate-limited'
  | 'internal'
  | 'unavailable'
  | 'offline';

const KNOWN: ReadonlySet<string> = new Set<ProblemType>([
  'unauthorized',
  'forbidden',
  'read-only',
  'not-found',
  'invalid',
  'conflict',
  'stale',
  'seat-limit',
  'link-invalid',
  'rate-limited',
  'internal',
  'unavailable',
]);

export interface FieldProblem {
  /** JSON pointer into the request body, for example `/name`. */
  pointer: string;
  code: string;
}

export class ApiError extends Error {
  readonly type: ProblemType;
  readonly status: number;
  readonly fields: readonly FieldProblem[];
  /** The problem document as it came, for members that only one endpoint sends. */
  readonly document: Readonly<Record<string, unknown>>;
  readonly retryAfterSeconds: number | undefined;

  constructor(type: ProblemType, status: number, document: Record<string, unknown> = {}, retryAfterSeconds?: number) {
    super(typeof document['detail'] === 'string' ? document['detail'] : type);
    this.name = 'ApiError';
    this.type = type;
    this.status = status;
    this.document = document;
    this.fields = fieldProblems(document['errors']);
    this.retryAfterSeconds = retryAfterSeconds;
  }
}

export function isProblem(error: unknown, type: ProblemType): error is ApiError {
  return error instanceof ApiError && error.type === type;
}

/** Turns a failed response into an `ApiError`; a gateway's HTML page or an empty body still gets a type. */
export async function problemFrom(response: Response): Promise<ApiError> {
  const document = await readDocument(response);
  const named = typeof document['type'] === 'string' ? document['type'] : '';
  const type = KNOWN.has(named) ? (named as ProblemType) : typeForStatus(response.status);
  const retryAfter = Number(response.headers.get('Retry-After') ?? Number.NaN);
  return new ApiError(type, response.status, document, Number.isFinite(retryAfter) ? retryAfter : undefined);
}

async function readDocument(response: Response): Promise<Record<string, unknown>> {
  try {
    const parsed: unknown = await response.json();
    return typeof parsed === 'object' && parsed !== null ? (parsed as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}

function typeForStatus(status: number): ProblemType {
  if (status === 401) return 'unauthorized';
  if (status === 403) return 'forbidden';
  if (status === 404) return 'not-found';
  if (status === 409) return 'conflict';
  if (status === 429) return 'rate-limited';
  if (status === 502 || status === 503 || status === 504) return 'unavailable';
  return status < 500 ? 'invalid' : 'internal';
}

function fieldProblems(value: unknown): FieldProblem[] {
  if (!Array.isArray(value)) return [];
  return value.filter(
    (item): item is FieldProblem =>
      typeof item === 'object' && item !== null && typeof item.pointer === 'string' && typeof item.code === 'string',
  );
}
