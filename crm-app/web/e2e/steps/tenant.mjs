// @ts-check
// What any fresh tenant must do: from the one-time link to the first customer, found again, and open without network.
import { readFile } from 'node:fs/promises';
import { expect, expectEqual } from '../expect.mjs';
import { PHONE } from '../session.mjs';

const COMPANY = '杭州示例科技有限公司';
const PASSWORD = '湖光秋月两相和 2026';

/**
 * @typedef {import('../session.mjs').Session} Session
 * @typedef {import('playwright-core').Page} Page
 * @typedef {(name: string, run: () => Promise<unknown>) => Promise<void>} Step
 */

/** @param {Session} session @param {Step} step */
export async function onATenant(session, step) {
  await step('a preview that only opens the one-time link does not spend it', () => preview(session));
  const context = await session.open();
  const page = await session.page(context);
  const email = { value: '' };
  await step('the link greets by name and sets a password', async () => (email.value = await welcome(session, page)));
  await step('the spent link explains itself', () => spentLink(session));
  await step('signs out, and in again with the new password', () => signInAgain(session, page, email.value));
  await step(`creates ${COMPANY} by keyboard`, () => create(session, page));
  await step('finds it by 示例, and asks the server only when the word is composed', () => search(session, page));
  await step('edits merge with a colleague’s, and the same field asks', () => conflict(session, page));
  await step('people: invites by a link and deactivates', () => people(session, page));
  await step('takes everything along in one archive', () => exportAll(session, page));
  await step('reloads without network and shows the shell', () => offline(session, page));
  await step('speaks English and goes dark', () => looks(session, page));
  await step('fits a phone', () => phone(session, page));
  await step('signs out', () => signOut(page));
  await context.close();
}

/** @param {Session} session */
async function preview(session) {
  for (const javaScriptEnabled of [false, true]) {
    const context = await session.open({ javaScriptEnabled });
    const page = await context.newPage();
    await page.goto(session.link);
    if (javaScriptEnabled) await page.getByLabel('设置密码').waitFor();
    await context.close();
  }
}

/** @param {Session} session @param {Page} page */
async function welcome(session, page) {
  await page.goto(session.link);
  await page.getByRole('heading', { level: 1, name: '你好' }).waitFor();
  await session.checkAccessibility(page, 'welcome');
  await session.shoot(page, 'welcome-desk-light');
  const email = await page.getByLabel('登录邮箱').inputValue();
  await page.getByLabel('设置密码').fill('short');
  await page.getByRole('button', { name: '设置密码并进入' }).click();
  await page.getByText('密码至少要 8 个字符').waitFor();
  await page.getByLabel('设置密码').fill(PASSWORD);
  await page.getByRole('button', { name: '设置密码并进入' }).click();
  await page.getByRole('heading', { level: 1, name: '客户' }).waitFor();
  expect(!page.url().includes('#'), 'the token is still in the address');
  await page.getByText('还没有客户').waitFor();
  await session.checkAccessibility(page, 'empty list');
  await session.shoot(page, 'companies-empty-desk-light');
  return email;
}

/** @param {Session} session */
async function spentLink(session) {
  const context = await session.open();
  const page = await session.page(context);
  await page.goto(session.link);
  await page.getByRole('heading', { name: '这个链接已不能使用' }).waitFor();
  await session.shoot(page, 'welcome-spent-desk-light');
  await context.close();
}

/** @param {Session} session @param {Page} page @param {string} email */
async function signInAgain(session, page, email) {
  await signOut(page);
  await page.getByLabel('邮箱').waitFor();
  await session.checkAccessibility(page, 'sign-in');
  await session.shoot(page, 'sign-in-desk-light');
  await page.getByLabel('邮箱').fill(email);
  await page.getByLabel('密码', { exact: true }).fill('not the password');
  await page.keyboard.press('Enter');
  await page.getByRole('alert').getByText('邮箱或密码不正确').waitFor();
  await page.getByLabel('密码', { exact: true }).fill(PASSWORD);
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { level: 1, name: '客户' }).waitFor();
}

/** @param {Session} session @param {Page} page */
async function create(session, page) {
  await page.getByText('还没有客户').waitFor();
  await page.keyboard.press('c');
  const dialog = page.getByRole('dialog', { name: '新建客户' });
  await dialog.waitFor();
  await page.keyboard.press('Control+Enter');
  await dialog.getByText('请填写这一项').waitFor();
  await dialog.getByLabel('名称').fill(COMPANY);
  await dialog.getByLabel('电话').fill('0571-8888 6666');
  await dialog.getByRole('button', { name: '明天' }).click();
  await dialog.getByRole('radio', { name: 'A 重点' }).check();
  await session.checkAccessibility(page, 'create dialog');
  await session.shoot(page, 'company-create-desk-light');
  await page.keyboard.press('Escape');
  await dialog.getByText('有未保存的修改').waitFor();
  await dialog.getByRole('button', { name: '继续编辑' }).click();
  await dialog.getByLabel('名称').press('Control+Enter');
  await page.getByRole('heading', { level: 1, name: COMPANY }).waitFor();
  await page.getByText('创建了这家客户').waitFor();
  await session.checkAccessibility(page, 'record');
}

/** @param {Session} session @param {Page} page */
async function search(session, page) {
  await page.locator('article').getByRole('link', { name: '客户' }).click();
  await page.getByRole('link', { name: COMPANY }).waitFor();
  /** @type {string[]} */
  const asked = [];
  page.on('request', (request) => {
    const q = new URL(request.url()).searchParams.get('q');
    if (q !== null && request.url().includes('/api/')) asked.push(q);
  });
  await page.keyboard.press('/');
  // What an input method does: the Latin letters stand in the field while the word is being composed.
  const devtools = await page.context().newCDPSession(page);
  for (const letters of ['sh', 'shi', 'shi l', 'shi li']) {
    await devtools.send('Input.imeSetComposition', { text: letters, selectionStart: letters.length, selectionEnd: letters.length });
  }
  await devtools.send('Input.insertText', { text: '示例' });
  await page.waitForURL((url) => url.searchParams.get('q') === '示例');
  await page.locator('mark', { hasText: '示例' }).waitFor();
  expectEqual(asked.join(' '), '示例', 'what the server was asked');
  await session.checkAccessibility(page, 'search');
  await session.shoot(page, 'companies-search-desk-light');
  await page.reload();
  await page.locator('mark', { hasText: '示例' }).waitFor();
  await page.getByRole('searchbox').fill('不存在的公司');
  await page.getByText('没有找到「不存在的公司」').waitFor();
  await page.getByRole('searchbox').press('Escape');
  await page.getByRole('searchbox').fill('6666');
  await page.locator('mark', { hasText: '6666' }).waitFor();
  await page.getByRole('button', { name: '清除搜索' }).click();
  await page.getByRole('link', { name: COMPANY }).click();
  await page.getByRole('heading', { level: 1, name: COMPANY }).waitFor();
}

/** @param {Session} session @param {Page} page */
async function conflict(session, page) {
  // A window of its own: a tab in the background is slowed down by the browser.
  const other = await session.open({ storageState: await page.context().storageState() });
  const colleague = await session.page(other);
  await colleague.goto(page.url());
  const edit = async (/** @type {Page} */ where, /** @type {Record<string, string>} */ values) => {
    const dialog = where.getByRole('dialog', { name: '编辑客户资料' });
    for (const [label, value] of Object.entries(values)) await dialog.getByLabel(label).fill(value);
    await dialog.getByRole('button', { name: '保存' }).click();
  };
  const openForm = (/** @type {Page} */ where) => where.getByRole('button', { name: '编辑' }).click();

  await openForm(page);
  await openForm(colleague);
  await edit(colleague, { 行业: '软件', 年营业额: '120万' });
  await colleague.getByText('已保存', { exact: true }).waitFor();
  await edit(page, { 简称: '示例科技' });
  await page.getByText('保留了同事刚才的修改').waitFor();
  const facts = page.getByRole('region', { name: '资料' });
  await facts.getByText('¥1,200,000').waitFor();

  await colleague.reload();
  await openForm(page);
  await openForm(colleague);
  await edit(colleague, { 地址: '文三路 90 号' });
  await colleague.getByText('已保存', { exact: true }).waitFor();
  await edit(page, { 地址: '天目山路 18 号', 网站: 'example.com' });
  const dialog = page.getByRole('dialog', { name: '同事刚才也改了这家客户' });
  await dialog.getByText('文三路 90 号').waitFor();
  await session.checkAccessibility(page, 'conflict');
  await session.shoot(page, 'company-conflict-desk-light');
  await dialog.getByRole('radio', { name: /文三路 90 号/ }).check();
  await dialog.getByRole('button', { name: '按选择保存' }).click();
  await facts.getByText('文三路 90 号').waitFor();
  await facts.getByRole('link', { name: 'example.com' }).waitFor();
  await other.close();
  await session.shoot(page, 'company-desk-light');
}

/** @param {Session} session @param {Page} page */
async function people(session, page) {
  await page.getByRole('link', { name: '成员' }).click();
  await page.getByRole('heading', { level: 1, name: '成员' }).waitFor();
  await page.getByRole('button', { name: '邀请成员' }).click();
  const form = page.getByRole('dialog', { name: '邀请成员' });
  await form.getByLabel('姓名').fill('陈静');
  await form.getByLabel('邮箱').fill('jing@acme.example');
  await form.getByRole('button', { name: '生成邀请链接' }).click();
  const handOver = page.getByRole('dialog', { name: '登录链接已生成' });
  const link = await handOver.getByLabel('一次性登录链接').inputValue();
  expect(link.startsWith(`${session.baseUrl}/welcome#`), `the invitation link is ${link}`);
  await session.checkAccessibility(page, 'invitation');
  await session.shoot(page, 'people-link-desk-light');
  await page.keyboard.press('Escape');
  await page.getByText('待激活').filter({ visible: true }).waitFor();
  await session.shoot(page, 'people-desk-light');

  await page.getByRole('button', { name: '陈静 的操作' }).click();
  await session.checkAccessibility(page, 'people');
  await page.getByRole('menuitem', { name: '停用' }).click();
  await page.getByRole('dialog', { name: '停用 陈静？' }).getByRole('button', { name: '停用' }).click();
  await page.getByText('已停用 陈静').waitFor();

  const guest = await session.open();
  const theirs = await session.page(guest);
  await theirs.goto(link);
  await theirs.getByRole('heading', { name: '这个链接已不能使用' }).waitFor();
  await guest.close();
}

/** @param {Session} session @param {Page} page */
async function exportAll(session, page) {
  await page.getByRole('button', { name: '账户与设置' }).click();
  await page.getByRole('menuitem', { name: '导出全部数据' }).click();
  await page.getByRole('heading', { level: 1, name: '导出全部数据' }).waitFor();
  const password = page.getByLabel('登录密码');
  const submit = page.getByRole('button', { name: '导出并下载' });
  await password.fill('not the password');
  await submit.click();
  await page.getByText('密码不对，请再试').waitFor();
  await session.checkAccessibility(page, 'export');
  await password.fill(PASSWORD);
  const [file] = await Promise.all([page.waitForEvent('download'), submit.click()]);
  await page.getByText('下载已经开始').waitFor();
  expect(/^crm-[a-z0-9-]+-\d{8}T\d{6}Z\.zip$/.test(file.suggestedFilename()), `the archive is called ${file.suggestedFilename()}`);
  const archive = await readFile(await file.path());
  // Its directory stands at its end: without that it broke off.
  expectEqual(archive.subarray(-22, -18).toString('latin1'), 'PK\x05\x06', 'the end of the archive');
  await session.shoot(page, 'export-started-desk-light');
}

/** @param {Session} session @param {Page} page */
async function offline(session, page) {
  await page.goto('/companies');
  await page.getByRole('link', { name: COMPANY }).waitFor();
  // Ready when the worker has everything and answers for this page.
  await page.evaluate(() => navigator.serviceWorker.ready.then(() => undefined));
  await page.context().setOffline(true);
  await page.getByText('没有网络。已打开的内容还能看').waitFor();
  await page.reload();
  await page.getByRole('status').getByText('没有网络连接').waitFor();
  await page.getByRole('navigation').getByRole('link', { name: '客户' }).waitFor();
  expectEqual(await page.getByRole('link', { name: COMPANY }).count(), 0, 'companies on the page without network');
  await session.checkAccessibility(page, 'offline shell');
  await session.shoot(page, 'offline-desk-light');
  await page.context().setOffline(false);
  await page.getByRole('link', { name: COMPANY }).waitFor();
}

/** @param {Session} session @param {Page} page */
async function looks(session, page) {
  await session.shoot(page, 'companies-desk-light');
  await page.getByRole('button', { name: '账户与设置' }).click();
  await session.checkAccessibility(page, 'account menu');
  await page.getByRole('menuitemradio', { name: 'English' }).click();
  await page.getByRole('menuitemradio', { name: 'Dark' }).click();
  await session.shoot(page, 'account-menu-desk-dark');
  await page.keyboard.press('Escape');
  expectEqual(await page.locator('html').getAttribute('lang'), 'en', 'the language of the page');
  expectEqual(await page.locator('html').getAttribute('data-theme'), 'dark', 'the theme of the page');
  await page.getByRole('heading', { level: 1, name: 'Companies' }).waitFor();
  await session.shoot(page, 'companies-desk-dark');
  await page.getByRole('link', { name: COMPANY }).click();
  await page.getByRole('heading', { level: 1, name: COMPANY }).waitFor();
  await page.getByText('created this company').waitFor();
  await session.shoot(page, 'company-desk-dark');
  await page.reload();
  expectEqual(await page.locator('html').getAttribute('data-theme'), 'dark', 'the theme after a reload');
  await page.getByRole('button', { name: 'Account and settings' }).click();
  await page.getByRole('menuitemradio', { name: '简体中文' }).click();
  await page.getByRole('menuitemradio', { name: '跟随系统' }).click();
  await page.keyboard.press('Escape');
}

/** @param {Session} session @param {Page} page */
async function phone(session, page) {
  const context = await session.open({
    viewport: PHONE,
    deviceScaleFactor: 2,
    isMobile: true,
    hasTouch: true,
    storageState: await page.context().storageState(),
  });
  const small = await session.page(context);
  await small.goto('/companies');
  await small.getByRole('link', { name: COMPANY }).waitFor();
  await session.checkAccessibility(small, 'list on a phone');
  await checkTouchTargets(small);
  await session.shoot(small, 'companies-phone-light');
  await small.getByRole('button', { name: '新建客户' }).tap();
  await small.getByRole('dialog', { name: '新建客户' }).waitFor();
  await checkTouchTargets(small);
  await session.shoot(small, 'company-create-phone-light');
  await small.getByRole('button', { name: '取消' }).tap();
  await small.getByRole('link', { name: COMPANY }).tap();
  await small.getByText('创建了这家客户').waitFor();
  await checkTouchTargets(small);
  const overflow = await small.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  expectEqual(overflow, 0, 'pixels that stick out on a phone');
  await session.shoot(small, 'company-phone-light');
  await small.emulateMedia({ colorScheme: 'dark' });
  await session.shoot(small, 'company-phone-dark');
  await small.emulateMedia({ colorScheme: 'light' });
  await small.goto('/export');
  await small.getByRole('button', { name: '导出并下载' }).waitFor();
  await checkTouchTargets(small);
  await session.shoot(small, 'export-phone-light');
  await context.close();
}

/** A thumb needs 44 pixels; links within a line of text may be smaller (WCAG 2.5.8). @param {Page} page */
async function checkTouchTargets(page) {
  const small = await page.evaluate(() =>
    [...document.querySelectorAll('button, a[href], select, input:not([type=radio])')]
      .filter((element) => element.closest('dd, p') === null && !element.classList.contains('sr-only') && element.checkVisibility())
      .map((element) => ({ name: element.getAttribute('aria-label') ?? element.textContent, box: element.getBoundingClientRect() }))
      .filter(({ box }) => box.height > 0 && (box.height < 44 || box.width < 44))
      .map(({ name, box }) => `${name} ${Math.round(box.width)}×${Math.round(box.height)}`),
  );
  expect(small.length === 0, `too small for a thumb: ${small.join(', ')}`);
}

/** @param {Page} page */
async function signOut(page) {
  await page.getByRole('button', { name: '账户与设置' }).click();
  await page.getByRole('menuitem', { name: '退出登录' }).click();
  await page.getByLabel('密码', { exact: true }).waitFor();
}
