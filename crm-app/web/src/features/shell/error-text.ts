import { ApiError } from '../../api/problem';
import type { Key, Translate } from '../../i18n';
import { zhCN } from '../../i18n/zh-CN';

/** What to tell a person about a failure. */
export function errorText(error: unknown, t: Translate): string {
  return t(error instanceof ApiError ? `error.${error.type}` : 'error.internal');
}

/** What to tell about one field, by the code that the server gave it. Some codes mean more when one knows the field. */
export function fieldErrorText(field: string, code: string, t: Translate): string {
  const key = [`field.${code}.${field}`, `field.${code}`].find((candidate) => candidate in zhCN);
  return t((key ?? 'field.format') as Key);
}

/** The codes of a refused form by field name, to be shown at their fields. */
export function fieldErrors(error: unknown): Record<string, string> {
  if (!(error instanceof ApiError)) return {};
  return Object.fromEntries(error.fields.map(({ pointer, code }) => [pointer.replace(/^\//, ''), code]));
}
