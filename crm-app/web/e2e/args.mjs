// @ts-check
import { parseArgs } from 'node:util';

/** Command line first, then the environment: the fleet test sets the latter. */
export function readArgs() {
  const { values } = parseArgs({
    options: {
      'base-url': { type: 'string' },
      link: { type: 'string' },
      screenshots: { type: 'string' },
    },
  });
  const baseUrl = values['base-url'] ?? process.env['CRM_BASE_URL'];
  const link = values.link ?? process.env['CRM_LINK'];
  const screenshots = values.screenshots ?? process.env['CRM_SCREENSHOTS'];
  if ((baseUrl === undefined) !== (link === undefined)) {
    throw new Error('--base-url and --link belong together; without both the tests start a server of their own');
  }
  return { baseUrl: baseUrl?.replace(/\/$/, ''), link, screenshots };
}
