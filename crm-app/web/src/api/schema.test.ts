import { readFile, writeFile } from 'node:fs/promises';
import openapiTS, { astToString, COMMENT_HEADER } from 'openapi-typescript';
import { expect, it } from 'vitest';

it('schema.ts is what openapi.json says (UPDATE=1 writes it anew)', async () => {
  const here = new URL('schema.ts', import.meta.url);
  const description = new URL('../../../openapi.json', import.meta.url);
  const fresh = COMMENT_HEADER + astToString(await openapiTS(description));
  if (process.env['UPDATE'] === '1') await writeFile(here, fresh);
  expect(await readFile(here, 'utf8')).toBe(fresh);
});
