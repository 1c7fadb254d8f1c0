// Puts a .br and a .gz beside every text file of dist/, so that the server never compresses on a request.
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import zlib from 'node:zlib';

const brotli = promisify(zlib.brotliCompress);
const gzip = promisify(zlib.gzip);
const TEXT = new Set(['.css', '.html', '.js', '.json', '.svg', '.webmanifest']);

const dist = fileURLToPath(new URL('../dist', import.meta.url));
const files = (await readdir(dist, { recursive: true })).filter((file) => TEXT.has(extname(file)));

await Promise.all(
  files.map(async (file) => {
    const path = join(dist, file);
    const content = await readFile(path);
    const [br, gz] = await Promise.all([
      brotli(content, { params: { [zlib.constants.BROTLI_PARAM_SIZE_HINT]: content.length } }),
      gzip(content, { level: 9 }),
    ]);
    await Promise.all([writeFile(`${path}.br`, br), writeFile(`${path}.gz`, gz)]);
  }),
);
console.log(`${files.length} files compressed in dist/`);
