import { isProblem } from '../../api/problem';
import type { Translate } from '../../i18n';
import { errorText } from '../shell/error-text';

/** The one rule about changing people that an error of its own stands for: somebody must stay in charge. */
export function userErrorText(error: unknown, t: Translate): string {
  return isProblem(error, 'conflict') ? t('users.lastAdmin') : errorText(error, t);
}
