// @ts-check
// States that a real tenant shows only at times: a full list, read-only, no seat left, a session that ended.
import { expect, expectEqual } from '../expect.mjs';
import { DESK, PHONE } from '../session.mjs';

/**
 * @typedef {import('../session.mjs').Session} Session
 * @typedef {import('../mock/world.mjs').World} World
 * @typedef {import('playwright-core').Page} Page
 */

/** @param {Session} session @param {World} world @param {import('./tenant.mjs').Step} step */
export async function onTheMock(session, world, step) {
  world.seed();
  const context = await session.open();
  const page = await session.page(context);
  await step('a list of real length, sorted by name from the address', () => longList(session, world, page));
  await step('read-only is said before anything fails', () => readOnly(session, world, page));
  await step('no seat left is said before anything fails', () => fullHouse(session, world, page));
  await step('everything can be exported although read-only, one at a time, in both languages', () => exports(session, world, page));
  await step('a page that was left stands where it was left', () => scrollMemory(page));
  await step('a new version is offered, and taken when asked', () => newVersion(world, page));
  await step('an ended session leads to sign-in and back to the same page', () => endedSession(world, page));
  await context.close();
}

/** @param {Session} session @param {World} world @param {Page} page */
async function longList(session, world, page) {
  await signIn(world, page);
  await page.getByRole('link', { name: '宁波远航国际物流有限公司' }).waitFor();
  for (const colorScheme of /** @type {const} */ (['light', 'dark'])) {
    await page.emulateMedia({ colorScheme });
    await page.locator(`html[data-theme=${colorScheme}]`).waitFor();
    await page.setViewportSize(DESK);
    await session.shoot(page, `list-desk-${colorScheme}`);
    await page.setViewportSize(PHONE);
    await page.getByRole('list').first().waitFor();
    await session.shoot(page, `list-phone-${colorScheme}`);
  }
  await page.emulateMedia({ colorScheme: 'light' });
  await page.setViewportSize(DESK);
  await page.getByRole('button', { name: '名称' }).click();
  await page.waitForURL((url) => url.searchParams.get('sort') === 'name');
  await page.getByRole('columnheader', { name: '名称' }).and(page.locator('[aria-sort=ascending]')).waitFor();
  await page.keyboard.press('j');
  await page.keyboard.press('j');
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { level: 2, name: '动态' }).waitFor();
  await page.locator('article').getByRole('link', { name: '客户' }).click();
  await page.waitForURL((url) => url.searchParams.get('sort') === 'name');
}

/** @param {Session} session @param {World} world @param {Page} page */
async function readOnly(session, world, page) {
  world.workspace.state = 'ReadOnly';
  await page.reload();
  await page.getByText('工作区现在是只读：可以查看').waitFor();
  await session.checkAccessibility(page, 'read-only');
  await session.shoot(page, 'read-only-desk-light');
  await page.getByRole('button', { name: '新建客户' }).click();
  await page.getByText('工作区现在是只读，暂时不能修改').waitFor();
  expectEqual(await page.getByRole('dialog').count(), 0, 'dialogs while read-only');
  world.workspace.state = 'Active';
  await page.reload();
  await page.getByRole('button', { name: '新建客户' }).click();
  // It becomes read-only while the form is open: the answer is explained and nothing typed is lost.
  world.workspace.state = 'ReadOnly';
  await page.getByLabel('名称').fill('来不及保存的公司');
  await page.getByLabel('名称').press('Control+Enter');
  await page.getByRole('alert').getByText('没有保存').waitFor();
  expectEqual(await page.getByLabel('名称').inputValue(), '来不及保存的公司', 'what had been typed');
  await page.getByText('工作区现在是只读：可以查看').waitFor();
  await page.keyboard.press('Escape');
  await page.getByRole('button', { name: '放弃修改' }).click();
  world.workspace.state = 'Active';
  await page.reload();
}

/** @param {Session} session @param {World} world @param {Page} page */
async function fullHouse(session, world, page) {
  world.workspace.seats = 2;
  await page.goto('/users');
  await page.getByText('席位已用完。停用一位成员').waitFor();
  expect(await page.getByRole('button', { name: '邀请成员' }).isDisabled(), 'inviting should be impossible');
  await session.shoot(page, 'people-full-desk-light');
  world.workspace.seats = 5;
}

/** @param {Session} session @param {World} world @param {Page} page */
async function exports(session, world, page) {
  world.workspace.state = 'ReadOnly';
  world.isExporting = true;
  await page.goto('/export');
  await page.getByLabel('登录密码').fill(world.users[0]?.password ?? '');
  await page.getByRole('button', { name: '导出并下载' }).click();
  await page.getByRole('alert').getByText('已经有一份导出正在下载').waitFor();
  await session.shoot(page, 'export-running-desk-light');
  world.isExporting = false;
  const download = page.waitForEvent('download');
  await page.getByRole('button', { name: '导出并下载' }).click();
  await download;
  await page.getByText('下载已经开始').waitFor();
  await page.getByRole('button', { name: '账户与设置' }).click();
  await page.getByRole('menuitemradio', { name: 'English' }).click();
  await page.keyboard.press('Escape');
  for (const colorScheme of /** @type {const} */ (['light', 'dark'])) {
    await page.emulateMedia({ colorScheme });
    await page.locator(`html[data-theme=${colorScheme}]`).waitFor();
    for (const [name, size] of /** @type {const} */ ([['desk', DESK], ['phone', PHONE]])) {
      await page.setViewportSize(size);
      await page.getByRole('button', { name: 'Export and download' }).waitFor();
      await session.shoot(page, `export-english-${name}-${colorScheme}`);
    }
  }
  await page.emulateMedia({ colorScheme: 'light' });
  await page.setViewportSize(DESK);
  await page.getByRole('button', { name: 'Account and settings' }).click();
  await page.getByRole('menuitemradio', { name: '简体中文' }).click();
  await page.keyboard.press('Escape');
  world.workspace.state = 'Active';
  await page.reload();
}

/** @param {Page} page */
async function scrollMemory(page) {
  await page.setViewportSize({ width: 1280, height: 420 });
  await page.goto('/companies?sort=name');
  const last = page.getByRole('link', { name: 'Nordwind Handels GmbH' });
  await last.scrollIntoViewIfNeeded();
  // Nobody scrolls and clicks within one frame, but a test would.
  await page.evaluate(() => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn))));
  await last.click();
  await page.getByRole('heading', { level: 1, name: 'Nordwind Handels GmbH' }).waitFor();
  const top = () => page.locator('main').evaluate((main) => main.scrollTop);
  expectEqual(await top(), 0, 'where a record begins');
  await page.goBack();
  await last.waitFor();
  expect((await top()) > 0, 'the list forgot where it was');
  await page.setViewportSize(DESK);
}

/** @param {World} world @param {Page} page */
async function newVersion(world, page) {
  world.release += 1;
  await page.evaluate(() => navigator.serviceWorker.ready.then((registration) => registration.update()).then(() => undefined));
  const prompt = page.getByRole('status').filter({ hasText: '新版本已经准备好' });
  await prompt.waitFor();
  await page.getByRole('button', { name: '刷新使用' }).click();
  await prompt.waitFor({ state: 'detached' });
  await page.getByRole('heading', { level: 1, name: '客户' }).waitFor();
}

/** @param {World} world @param {Page} page */
async function endedSession(world, page) {
  await page.goto('/companies?sort=name');
  await page.getByRole('link', { name: '宁波远航国际物流有限公司' }).waitFor();
  world.sessions.clear();
  await page.getByRole('searchbox').fill('物流');
  await page.getByText('登录已过期').waitFor();
  await fillSignIn(world, page);
  await page.locator('mark', { hasText: '物流' }).first().waitFor();
  expect(page.url().includes('sort=name'), `the address was lost: ${page.url()}`);
}

/** @param {World} world @param {Page} page */
async function signIn(world, page) {
  await page.goto('/companies');
  await fillSignIn(world, page);
}

/** @param {World} world @param {Page} page */
async function fillSignIn(world, page) {
  const [admin] = world.users;
  await page.getByLabel('邮箱').fill(admin?.email ?? '');
  await page.getByLabel('密码', { exact: true }).fill(admin?.password ?? '');
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { level: 1, name: '客户' }).waitFor();
}
