/** What travels over the API, by shorter names. */
import type { components, operations } from './schema';

type Schemas = components['schemas'];

export type AuditEntry = Schemas['AuditEntry'];
export type Company = Schemas['Company'];
export type CompanyPatch = Schemas['CompanyPatch'];
export type CompanySort = NonNullable<NonNullable<operations['listCompanies']['parameters']['query']>['sort']>;
export type ExitLink = Schemas['ExitLink'];
export type InvitedUser = Schemas['InvitedUser'];
export type Level = Schemas['Level'];
export type LinkInfo = Schemas['LinkInfo'];
export type NewCompany = Schemas['NewCompany'];
export type NewUser = Schemas['NewUser'];
export type OneTimeLink = Schemas['OneTimeLink'];
export type PublicWorkspace = Schemas['PublicWorkspace'];
export type Role = Schemas['Role'];
export type Session = Schemas['SessionInfo'];
export type User = Schemas['User'];
export type UserPatch = Schemas['UserPatch'];
