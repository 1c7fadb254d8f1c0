// @vitest-environment happy-dom
import { afterEach, describe, expect, it, vi } from 'vitest';
import { listCompanies, updateCompany } from './companies';
import { isProblem } from './problem';
import { getSession, signIn } from './session';

const json = (body: unknown, status = 200) =>
  new Response(JSON.stringify(body), { status, headers: { 'Content-Type': 'application/json' } });
const session = { csrfToken: 'token-1', user: {}, workspace: {} };

function serve(answer: (request: Request) => Response) {
  const fetchMock = vi.fn((request: Request) => Promise.resolve(answer(request)));
  vi.stubGlobal('fetch', fetchMock);
  return () => fetchMock.mock.calls.map(([request]) => request);
}

afterEach(() => vi.unstubAllGlobals());

describe('the client', () => {
  it('repeats the session’s token in requests that change something, and only there', async () => {
    const seen = serve(() => json(session));
    await signIn('fang@acme.example', 'secret');
    await getSession();
    await updateCompany('1', 7, { name: 'x' });
    expect(seen().map((request) => request.headers.get('X-CSRF-Token'))).toEqual([null, null, 'token-1']);
    expect(seen()[2]?.headers.get('If-Match')).toBe('"7"');
  });

  it('has nobody signed in on 401', async () => {
    serve(() => json({ type: 'unauthorized', status: 401 }, 401));
    expect(await getSession()).toBeNull();
  });

  it('answers a stale change with the record as it is now', async () => {
    const current = { id: '1', version: 8, name: 'theirs' };
    serve(() => json({ type: 'stale', status: 409, current }, 409));
    expect(await updateCompany('1', 7, { name: 'mine' })).toEqual({ kind: 'stale', current });
  });

  it('calls a request that never arrived offline', async () => {
    vi.stubGlobal('fetch', vi.fn(() => Promise.reject(new TypeError('Failed to fetch'))));
    const error: unknown = await listCompanies({ q: '', sort: 'name' }, null).catch((caught: unknown) => caught);
    expect(isProblem(error, 'offline')).toBe(true);
  });

  it('puts search, order and cursor into the address', async () => {
    const seen = serve(() => json({ items: [], nextCursor: null }));
    await listCompanies({ q: '示例 & 100%', sort: 'name' }, 'abc=');
    const params = new URL(seen()[0]?.url ?? '').searchParams;
    expect(Object.fromEntries(params)).toEqual({ q: '示例 & 100%', sort: 'name', limit: '50', cursor: 'abc=' });
  });
});
