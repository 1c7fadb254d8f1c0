// @ts-check
// One browser with what every step needs: pages that watch for errors, screenshots, accessibility.
import { readFile, mkdir } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { launch } from './browser.mjs';

const axeSource = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

export const DESK = { width: 1280, height: 800 };
export const PHONE = { width: 390, height: 844 };

/**
 * @typedef {import('playwright-core').Page} Page
 * @typedef {import('playwright-core').BrowserContext} Context
 */

export class Session {
  /** @param {{ baseUrl: string, link: string, screenshots: string | undefined }} options */
  static async start({ baseUrl, link, screenshots }) {
    if (screenshots !== undefined) await mkdir(screenshots, { recursive: true });
    return new Session(await launch(), baseUrl, link, screenshots);
  }

  /** @type {string[]} What went wrong in any page without failing a step. */
  complaints = [];

  /** @param {import('playwright-core').Browser} browser @param {string} baseUrl @param {string} link @param {string | undefined} screenshots */
  constructor(browser, baseUrl, link, screenshots) {
    this.browser = browser;
    this.baseUrl = baseUrl;
    this.link = link;
    this.screenshots = screenshots;
  }

  /** @param {import('playwright-core').BrowserContextOptions} [options] */
  async open(options = {}) {
    const context = await this.browser.newContext({
      baseURL: this.baseUrl,
      locale: 'zh-CN',
      timezoneId: 'Asia/Shanghai',
      viewport: DESK,
      reducedMotion: 'reduce',
      ...options,
    });
    context.setDefaultTimeout(15_000);
    return context;
  }

  /** @param {Context} context */
  async page(context) {
    const page = await context.newPage();
    page.on('pageerror', (error) => this.complaints.push(`uncaught: ${error.message}`));
    page.on('console', (message) => {
      // Failed requests are part of some steps; a refused style or script never is.
      if (message.type() === 'error' && !message.text().startsWith('Failed to load resource')) {
        this.complaints.push(`console: ${message.text()}`);
      }
    });
    return page;
  }

  /** @param {Page} page @param {string} name */
  async shoot(page, name) {
    if (this.screenshots === undefined) return;
    await page.screenshot({ path: join(this.screenshots, `${name}.png`) });
  }

  /** What every open page shows, for whoever has to find out why a step failed. */
  async shootAll() {
    const pages = this.browser.contexts().flatMap((context) => context.pages());
    for (const [index, page] of pages.entries()) await this.shoot(page, `failed-${index}`);
  }

  /** Nothing serious or critical, in the light and in the dark. @param {Page} page @param {string} place */
  async checkAccessibility(page, place) {
    for (const colorScheme of /** @type {const} */ (['dark', 'light'])) {
      await page.emulateMedia({ colorScheme });
      await page.locator(`html[data-theme=${colorScheme}]`).waitFor();
      await page.evaluate(axeSource);
      const found = await page.evaluate(() =>
        // @ts-expect-error axe has just been put into the page
        window.axe.run(document, { resultTypes: ['violations'] }),
      );
      const bad = found.violations.filter((/** @type {any} */ { impact }) => impact === 'serious' || impact === 'critical');
      const text = bad.map((/** @type {any} */ { id, nodes }) => `${id} at ${nodes.map((/** @type {any} */ n) => n.target).join(', ')}`);
      if (text.length > 0) throw new Error(`accessibility of ${place} (${colorScheme}): ${text.join('; ')}`);
    }
  }

  async close() {
    await this.browser.close();
  }
}
