import { ApiError } from '../../api/problem';
import type { Key, Translate } from '../../i18n';
import { zhCN } from '../../i18n/zh-CN';

/** What to tell a person about a failure. */
export function errorText(error: unknown, t: Translate): string {
  return t(error instanceof ApiError ? `error.${error.type}` : 'error.internal');
}

/** What to tell about one field, by the code that the server gave it. */
export function fieldErrorText(code: string, t: Translate): string {
  const key = `field.${code}`;
  return t(key in zhCN ? (key as Key) : 'field.invalid');
}
