// Fails the build when what a phone must fetch before it shows the list of companies grows past its budget.
import { readdir, readFile, stat } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

const BUDGET_BYTES = 120 * 1024;
const dist = fileURLToPath(new URL('../dist/', import.meta.url));

const html = await readFile(`${dist}index.html`, 'utf8');
const assets = await readdir(`${dist}assets`);
const entries = [...html.matchAll(/src="\/([\w./-]+\.js)"/g)].map(([, path]) => path);
const firstPages = assets.filter((file) => /^list-page-[\w-]+\.js$/.test(file)).map((file) => `assets/${file}`);
if (entries.length < 2 || firstPages.length !== 1) throw new Error('the chunks of the first page have other names now');

const wanted = new Set([...entries, ...firstPages]);
for (const path of wanted) {
  const code = await readFile(dist + path, 'utf8');
  for (const [, file] of code.matchAll(/(?:from|import)\s*["']\.\/([\w.-]+\.js)["']/g)) wanted.add(`assets/${file}`);
}

const sizes = await Promise.all([...wanted].map(async (path) => (await stat(`${dist}${path}.br`)).size));
const bytes = sizes.reduce((sum, size) => sum + size, 0);
const summary = `first page: ${(bytes / 1024).toFixed(1)} KiB of JavaScript in ${wanted.size} files (br), budget ${BUDGET_BYTES / 1024} KiB`;
if (bytes > BUDGET_BYTES) throw new Error(summary);
console.log(summary);
