// @ts-check
// What the mock server knows and the rules it keeps.
import { randomUUID } from 'node:crypto';

/**
 * @typedef {{ id: string, name: string, email: string, role: string, status: string, createdAt: string, password?: string }} MockUser
 * @typedef {Record<string, any> & { id: string, version: number, name: string, updatedAt: string }} MockCompany
 */

export class Refusal extends Error {
  /** @param {string} type @param {number} status @param {object} [members] */
  constructor(type, status, members = {}) {
    super(type);
    this.type = type;
    this.status = status;
    this.members = members;
  }
}

const DAY_MS = 86_400_000;
const PAGE = 50;

export class World {
  workspace = {
    displayName: '杭州艾克米贸易有限公司',
    locale: 'zh-CN',
    timeZone: 'Asia/Shanghai',
    currency: 'CNY',
    state: 'Active',
    seats: 5,
  };
  release = 1;
  /** @type {Map<string, { userId: string, csrfToken: string }>} */
  sessions = new Map();
  /** @type {Map<string, string>} One-time token → user. */
  links = new Map();
  /** @type {Set<string>} */
  exitLinks = new Set();
  isExporting = false;
  /** @type {Map<string, MockCompany>} */
  companies = new Map();
  /** @type {Map<string, object[]>} */
  audit = new Map();
  /** @type {MockUser[]} */
  users = [
    { id: randomUUID(), name: '王芳', email: 'fang@acme.example', role: 'admin', status: 'invited', createdAt: ago(40) },
    { id: randomUUID(), name: '李建国', email: 'jianguo@acme.example', role: 'member', status: 'active', createdAt: ago(12) },
    { id: randomUUID(), name: 'Marta Kowalska', email: 'marta@acme.example', role: 'member', status: 'deactivated', createdAt: ago(200) },
  ];

  constructor() {
    this.links.set('first-link', this.users[0]?.id ?? '');
  }

  /** Fills the list as after a few weeks of work. */
  seed() {
    const [fang, jianguo] = this.users;
    SAMPLES.forEach(([name, shortName, level, industry, phone, inDays], index) => {
      const owner = index % 3 === 0 ? jianguo : fang;
      const company = {
        id: randomUUID(),
        version: 1,
        name,
        shortName,
        level,
        industry,
        phone,
        nextContactOn: inDays === null ? null : day(inDays),
        ownerId: owner?.id,
        owner: owner && { id: owner.id, name: owner.name },
        createdAt: ago(index + 3),
        updatedAt: ago(index * 0.4),
      };
      this.companies.set(company.id, company);
      this.audit.set(company.id, [entry(owner, 'create', company.createdAt, { name: [null, name] })]);
    });
  }

  /** @param {string | undefined} key */
  session(key) {
    const session = this.sessions.get(key ?? '');
    const user = this.users.find(({ id, status }) => id === session?.userId && status === 'active');
    if (session === undefined || user === undefined) throw new Refusal('unauthorized', 401);
    return { user, csrfToken: session.csrfToken };
  }

  /** @param {MockUser} user @param {string} csrfToken */
  sessionOf(user, csrfToken) {
    return { user: { ...this.publicUser(user), locale: this.workspace.locale }, csrfToken, workspace: this.workspace };
  }

  /** @param {MockUser} user */
  publicUser({ password: _secret, ...user }) {
    return user;
  }

  /** @param {string} token */
  inspect(token) {
    const { name, email } = this.#invited(token);
    return { name, email, displayName: this.workspace.displayName };
  }

  /** @param {string} token @param {string} password */
  accept(token, password) {
    const user = this.#invited(token);
    if (password.length < 8) throw invalid('/password', 'too-short');
    if (password === 'password1') throw invalid('/password', 'common');
    this.links.delete(token);
    Object.assign(user, { password, status: 'active' });
    return user;
  }

  /** @param {string} email @param {string} password */
  signIn(email, password) {
    const user = this.users.find((candidate) => candidate.email === email && candidate.status === 'active');
    if (user === undefined || user.password !== password) throw new Refusal('unauthorized', 401);
    return user;
  }

  /** @param {MockUser} user @param {string} password */
  newExitLink(user, password) {
    if (user.password !== password) throw invalid('/password', 'wrong');
    if (this.isExporting) throw new Refusal('export-running', 409);
    const token = randomUUID();
    this.exitLinks.add(token);
    return { link: `/api/v1/exit-bundle?token=${token}`, expiresAt: ago(-5 / 1440) };
  }

  /** An archive of nothing. @param {string} token */
  exitBundle(token) {
    if (!this.exitLinks.delete(token)) throw new Refusal('link-invalid', 410);
    return Buffer.concat([Buffer.from('PK\x05\x06'), Buffer.alloc(18)]);
  }

  /** @param {string} token */
  #invited(token) {
    const user = this.users.find(({ id }) => id === this.links.get(token));
    if (user === undefined || user.status === 'deactivated') throw new Refusal('link-invalid', 410);
    return user;
  }

  /** @param {{ name: string, email: string, role: string }} fields */
  invite({ name, email, role }) {
    if (this.users.filter(({ status }) => status !== 'deactivated').length >= this.workspace.seats) throw new Refusal('seat-limit', 409);
    if (this.users.some((user) => user.email === email)) throw new Refusal('conflict', 409, { errors: [{ pointer: '/email', code: 'taken' }] });
    const user = { id: randomUUID(), name, email, role, status: 'invited', createdAt: ago(0) };
    this.users.push(user);
    return { ...user, ...this.renewLink(user.id) };
  }

  /** @param {string} id */
  renewLink(id) {
    const token = randomUUID();
    this.links.set(token, id);
    return { link: `/welcome#${token}`, expiresAt: new Date(Date.now() + 3 * DAY_MS).toISOString() };
  }

  /** @param {string} id @param {Partial<MockUser>} patch */
  updateUser(id, patch) {
    const user = this.users.find((candidate) => candidate.id === id);
    if (user === undefined) throw new Refusal('not-found', 404);
    const others = this.users.filter((other) => other !== user && other.role === 'admin' && other.status === 'active');
    if (others.length === 0 && user.role === 'admin' && (patch.role === 'member' || patch.status === 'deactivated')) {
      throw new Refusal('conflict', 409);
    }
    return this.publicUser(Object.assign(user, patch));
  }

  /** @param {URLSearchParams} params */
  listCompanies(params) {
    const q = (params.get('q') ?? '').toLowerCase();
    const from = Number(params.get('cursor') ?? 0);
    const found = [...this.companies.values()].filter(
      ({ name, shortName, phone }) =>
        name.toLowerCase().includes(q) || shortName?.includes(q) || (/^\d{4,}$/.test(q) && phone?.replace(/\D/g, '').endsWith(q)),
    );
    const byName = params.get('sort') === 'name';
    found.sort((a, b) => (byName ? a.name.localeCompare(b.name, 'zh-CN') : b.updatedAt.localeCompare(a.updatedAt)));
    return { items: found.slice(from, from + PAGE), nextCursor: from + PAGE < found.length ? String(from + PAGE) : null };
  }

  /** @param {string} id */
  company(id) {
    const company = this.companies.get(id);
    if (company === undefined) throw new Refusal('not-found', 404);
    return company;
  }

  /** @param {MockUser} user @param {MockCompany} fields */
  createCompany(user, fields) {
    const known = this.companies.get(fields.id);
    if (known !== undefined) return known;
    const now = ago(0);
    const company = { ...fields, version: 1, ownerId: user.id, owner: { id: user.id, name: user.name }, createdAt: now, updatedAt: now };
    this.companies.set(company.id, company);
    this.audit.set(company.id, [entry(user, 'create', now, { name: [null, company.name] })]);
    return company;
  }

  /** @param {MockUser} user @param {string} id @param {string | undefined} ifMatch @param {Record<string, any>} patch */
  updateCompany(user, id, ifMatch, patch) {
    const current = this.company(id);
    if (ifMatch !== `"${current.version}"`) throw new Refusal('stale', 409, { current });
    if (patch['uscc'] && patch['uscc'] !== '91330100799655058B') throw invalid('/uscc', 'checksum');
    const now = ago(0);
    const changes = Object.fromEntries(Object.entries(patch).map(([field, value]) => [field, [current[field] ?? null, value]]));
    const owner = this.users.find(({ id: userId }) => userId === (patch['ownerId'] ?? current['ownerId']));
    const next = { ...current, ...patch, owner: owner && { id: owner.id, name: owner.name }, version: current.version + 1, updatedAt: now };
    this.companies.set(id, next);
    this.audit.set(id, [entry(user, 'update', now, changes), ...(this.audit.get(id) ?? [])]);
    return next;
  }
}

/** @param {string} pointer @param {string} code */
function invalid(pointer, code) {
  return new Refusal('invalid', 422, { errors: [{ pointer, code }] });
}

/** @param {MockUser | undefined} user @param {string} action @param {string} at @param {object} changes */
function entry(user, action, at, changes) {
  return { id: randomUUID(), at, actor: user ? { id: user.id, name: user.name } : null, action, changes };
}

/** @param {number} days */
function ago(days) {
  return new Date(Date.now() - days * DAY_MS).toISOString();
}

/** @param {number} days */
function day(days) {
  return new Date(Date.now() + days * DAY_MS).toISOString().slice(0, 10);
}

/** @type {[string, string | null, string | null, string | null, string | null, number | null][]} */
const SAMPLES = [
  ['宁波远航国际物流有限公司', '远航物流', 'A', '物流', '0574-8766 2310', 0],
  ['上海晨曦医疗器械股份有限公司', '晨曦医疗', 'A', '医疗器械', '021-5208 7741', -3],
  ['苏州工业园区恒瑞精密机械制造有限公司', '恒瑞精密', 'B', '机械制造', '138 0512 6690', 1],
  ['Nordwind Handels GmbH', 'Nordwind', 'B', 'Großhandel', '+49 40 3344 5566', 6],
  ['杭州西溪茶业有限公司', null, 'C', '食品', '0571-8602 1188', null],
  ['深圳市南山创新科技有限公司', '南山创新', 'A', '软件', '0755-2688 9001', 2],
  ['青岛海之蓝水产集团', '海之蓝', 'B', '水产', '0532-8577 3020', -12],
  ['成都锦里餐饮管理有限公司', '锦里餐饮', 'C', '餐饮', '028-8665 7412', null],
  ['Brightwater Consulting Ltd', 'Brightwater', 'C', 'Consulting', '+44 20 7946 0018', 21],
  ['武汉长江光电技术研究院', '长江光电', 'B', '光电', '027-8754 1190', 9],
  ['西安古都文化传媒有限公司', '古都文化', null, '传媒', '029-8832 6547', null],
  ['广州白云皮具进出口有限公司', '白云皮具', 'B', '贸易', '020-3661 2789', 4],
];
