// @ts-check
// The web app in a real browser, one line a step. Against a tenant:
//   npm run e2e -- --base-url http://acme.crm.localhost:8080 --link http://acme.crm.localhost:8080/welcome#… --screenshots out
// Without arguments against a server of its own, where also the states can be shown that a tenant has only at times.
import { readArgs } from './args.mjs';
import { startMock } from './mock/server.mjs';
import { Session } from './session.mjs';
import { onATenant } from './steps/tenant.mjs';
import { onTheMock } from './steps/mock.mjs';

const args = readArgs();
const mock = args.baseUrl === undefined ? await startMock() : null;
const baseUrl = args.baseUrl ?? mock?.baseUrl ?? '';
const link = args.link ?? `${baseUrl}/welcome#first-link`;
const session = await Session.start({ baseUrl, link, screenshots: args.screenshots });

let failed = 0;
/** @param {string} name @param {() => Promise<unknown>} run */
const step = async (name, run) => {
  const startedMs = performance.now();
  try {
    await run();
    console.log(`ok    ${name} (${Math.round(performance.now() - startedMs)} ms)`);
  } catch (error) {
    failed += 1;
    console.log(`FAIL  ${name}: ${error instanceof Error ? error.message : error}`);
    await session.shootAll();
    throw error;
  }
};

try {
  await onATenant(session, step);
  if (mock !== null) await onTheMock(session, mock.world, step);
  await step('no page broke the content security policy or threw an error', async () => {
    if (session.complaints.length > 0) throw new Error(session.complaints.join('\n      '));
  });
} catch (error) {
  // A later step builds on the earlier ones: the first failure is the one to read.
  if (failed === 0) throw error;
} finally {
  await session.close();
  await mock?.close();
}
process.exitCode = failed === 0 ? 0 : 1;
