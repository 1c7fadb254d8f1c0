// @ts-check
// The CRM's HTTP API in memory, for the states that a real tenant does not show at will: read-only, full, slow, failing.
// It serves dist/ under the same content security policy as the real server.
import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Refusal, World } from './world.mjs';

const DIST = fileURLToPath(new URL('../../dist', import.meta.url));
const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; font-src 'self'; connect-src 'self'; " +
  "manifest-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
/** @type {Record<string, string>} */
const TYPES = {
  '.css': 'text/css',
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript',
  '.png': 'image/png',
  '.svg': 'image/svg+xml',
  '.webmanifest': 'application/manifest+json',
};

/**
 * @typedef {import('node:http').IncomingMessage} Request
 * @typedef {import('node:http').ServerResponse} Response
 */

/** Starts on a free port of the loopback. */
export async function startMock() {
  const world = new World();
  const server = createServer((request, response) => {
    const url = new URL(request.url ?? '/', 'http://mock');
    const handled = url.pathname.startsWith('/api/v1/') ? serveApi(world, request, response, url) : serveFile(world, response, url);
    handled.catch((error) => {
      console.error(error);
      response.destroy();
    });
  });
  await new Promise((listening) => server.listen(0, '127.0.0.1', () => listening(undefined)));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the mock listens on no port');
  return {
    world,
    baseUrl: `http://demo.crm.localhost:${address.port}`,
    close: () => new Promise((closed) => server.close(closed)),
  };
}

/** @param {World} world @param {Response} response @param {URL} url */
async function serveFile(world, response, url) {
  const path = normalize(decodeURIComponent(url.pathname)).replace(/^(\.\.[/\\])+/, '');
  const body = await readFile(join(DIST, path)).catch(() => null);
  const isAsset = path.startsWith('/assets/');
  if (body === null && isAsset) return void response.writeHead(404).end();
  response.writeHead(200, {
    'Content-Type': TYPES[body === null ? '.html' : extname(path)] ?? 'application/octet-stream',
    'Content-Security-Policy': POLICY,
    'Cache-Control': isAsset ? 'public, max-age=31536000, immutable' : 'no-cache',
    'Referrer-Policy': 'same-origin',
  });
  // A worker that differs in one byte is a new version of the app.
  if (path === '/sw.js') response.write(`// release ${world.release}\n`);
  response.end(body ?? (await readFile(join(DIST, 'index.html'))));
}

/** @param {World} world @param {Request} request @param {Response} response @param {URL} url */
async function serveApi(world, request, response, url) {
  try {
    const body = await readJson(request);
    const call = { method: request.method ?? 'GET', path: url.pathname.slice('/api/v1'.length), params: url.searchParams, body, request };
    const { status = 200, json, cookie, archive } = answer(world, call);
    if (archive !== undefined) return void sendArchive(response, archive);
    response.writeHead(status, {
      'Content-Type': 'application/json',
      'Cache-Control': 'no-store',
      ...(cookie === undefined ? {} : { 'Set-Cookie': `__Host-session=${cookie}; Path=/; Secure; HttpOnly; SameSite=Lax` }),
    });
    response.end(json === undefined ? undefined : JSON.stringify(json));
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    response.writeHead(error.status, { 'Content-Type': 'application/problem+json', 'Cache-Control': 'no-store' });
    response.end(JSON.stringify({ type: error.type, title: error.type, status: error.status, detail: error.type, ...error.members }));
  }
}

/** As the real one: without its length. @param {Response} response @param {Buffer} archive */
function sendArchive(response, archive) {
  const disposition = 'attachment; filename="crm-acme-20261122T010000Z.zip"';
  response.writeHead(200, { 'Content-Type': 'application/zip', 'Content-Disposition': disposition, 'Cache-Control': 'no-store' });
  response.end(archive);
}

/**
 * @param {World} world
 * @param {{ method: string, path: string, params: URLSearchParams, body: any, request: Request }} call
 * @returns {{ status?: number, json?: unknown, cookie?: string, archive?: Buffer }}
 */
function answer(world, { method, path, params, body, request }) {
  const route = `${method} ${path}`;
  if (route === 'GET /workspace') return { json: { displayName: world.workspace.displayName, locale: world.workspace.locale } };
  if (route === 'POST /welcome/inspect') return { json: world.inspect(body.token) };
  if (route === 'POST /welcome') return enter(world, world.accept(body.token, body.password));
  if (route === 'POST /session') return enter(world, world.signIn(body.email, body.password));

  const { user, csrfToken } = world.session(/__Host-session=([\w-]+)/.exec(request.headers.cookie ?? '')?.[1]);
  if (method !== 'GET' && request.headers['x-csrf-token'] !== csrfToken) throw new Refusal('forbidden', 403);
  if (route === 'GET /session') return { json: world.sessionOf(user, csrfToken) };
  if (route === 'DELETE /session') return { status: 204, cookie: '' };
  if (route === 'POST /exit-bundle') return { status: 201, json: world.newExitLink(user, body.password) };
  if (route === 'GET /exit-bundle') return { archive: world.exitBundle(params.get('token') ?? '') };
  if (method !== 'GET' && world.workspace.state === 'ReadOnly') throw new Refusal('read-only', 403);

  if (route === 'GET /companies') return { json: world.listCompanies(params) };
  if (route === 'POST /companies') return { status: 201, json: world.createCompany(user, body) };
  if (route === 'GET /users') return { json: { items: world.users.map(world.publicUser) } };
  if (route === 'POST /users') return { status: 201, json: world.invite(body) };
  const [, kind, id = '', part] = path.split('/');
  if (kind === 'companies' && part === 'audit') return { json: { items: world.audit.get(id) ?? [], nextCursor: null } };
  if (kind === 'companies' && method === 'GET') return { json: world.company(id) };
  if (kind === 'companies' && method === 'PATCH') {
    return { json: world.updateCompany(user, id, request.headers['if-match'], body) };
  }
  if (kind === 'users' && method === 'PATCH') return { json: world.updateUser(id, body) };
  if (kind === 'users' && part === 'link') return { json: world.renewLink(id) };
  throw new Refusal('not-found', 404);
}

/** @param {World} world @param {import('./world.mjs').MockUser} user */
function enter(world, user) {
  const key = randomUUID();
  const csrfToken = randomUUID();
  world.sessions.set(key, { userId: user.id, csrfToken });
  return { json: world.sessionOf(user, csrfToken), cookie: key };
}

/** @param {Request} request */
async function readJson(request) {
  let text = '';
  for await (const chunk of request) text += chunk;
  return text === '' ? {} : JSON.parse(text);
}
