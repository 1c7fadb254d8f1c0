// Draws the PNG icons from icons/seal.svg with a browser. Run by hand when the seal changes; the results are committed.
import { readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { launch } from '../e2e/browser.mjs';

const icons = new URL('../public/icons/', import.meta.url);
const seal = await readFile(new URL('seal.svg', icons), 'utf8');
const paper = '#FAFAF8';

// iOS and Android cut icons to their own shape: those two stand on paper, with room around.
const wanted = [
  { name: 'seal-32.png', size: 32, scale: 1, background: 'transparent' },
  { name: 'seal-180.png', size: 180, scale: 0.72, background: paper },
  { name: 'seal-192.png', size: 192, scale: 1, background: 'transparent' },
  { name: 'seal-512.png', size: 512, scale: 1, background: 'transparent' },
  { name: 'seal-maskable-512.png', size: 512, scale: 0.6, background: paper },
];

const browser = await launch();
try {
  for (const { name, size, scale, background } of wanted) {
    const page = await browser.newPage({ viewport: { width: size, height: size } });
    await page.setContent(
      `<body style="margin:0;display:grid;place-items:center;height:100vh;background:${background}">` +
        `<div style="width:${scale * 100}%;height:${scale * 100}%">${seal}</div></body>`,
    );
    const png = await page.screenshot({ omitBackground: true });
    await writeFile(new URL(name, icons), png);
    console.log(fileURLToPath(new URL(name, icons)), png.length);
    await page.close();
  }
} finally {
  await browser.close();
}
