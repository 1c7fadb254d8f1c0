/** What travels over the API. */

export type Role = 'admin' | 'member';
export type Locale = 'zh-CN' | 'en';

export interface Workspace {
  displayName: string;
  locale: Locale;
  timeZone: string;
  currency: string;
  state: 'Active' | 'ReadOnly';
  seats: number;
}

export interface Session {
  user: { id: string; name: string; email: string; role: Role; locale: Locale };
  csrfToken: string;
  workspace: Workspace;
}

export interface PublicWorkspace {
  displayName: string;
  locale: Locale;
}

export interface WelcomePreview {
  name: string;
  email: string;
  displayName: string;
}

export interface User {
  id: string;
  name: string;
  email: string;
  role: Role;
  status: 'active' | 'invited' | 'deactivated';
  createdAt: string;
}

export interface InvitedUser extends User {
  link: string;
}

export interface OneTimeLink {
  link: string;
  expiresAt: string;
}

export type Level = 'A' | 'B' | 'C';

export interface CompanyFields {
  name: string;
  shortName?: string | null;
  uscc?: string | null;
  level?: Level | null;
  industry?: string | null;
  phone?: string | null;
  email?: string | null;
  website?: string | null;
  address?: string | null;
  annualRevenue?: string | null;
  nextContactOn?: string | null;
  ownerId?: string | null;
}

export interface Company extends CompanyFields {
  id: string;
  version: number;
  owner?: { id: string; name: string } | null;
  createdAt: string;
  updatedAt: string;
}

export type CompanyPatch = Partial<CompanyFields>;
export type CompanySort = '-updatedAt' | 'name';

export interface Page<T> {
  items: T[];
  nextCursor: string | null;
}

export interface AuditEntry {
  id: string;
  at: string;
  actor: { id: string; name: string } | null;
  action: string;
  changes: Record<string, [unknown, unknown]>;
}
