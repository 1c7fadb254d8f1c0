import { useT } from '../../i18n/context';
import { useOnline } from '../../ui/hooks';
import { useToast } from '../../ui/toast';
import { useSignedIn } from '../session/session';

/** Runs a change, or says why there can be none now. Buttons stay where they are, so nobody wonders where they went. */
export function useWriteGuard(): (change: () => void) => void {
  const t = useT();
  const toast = useToast();
  const { canWrite } = useSignedIn();
  const isOnline = useOnline();
  return (change) => {
    if (!canWrite) return toast('warn', t('readOnly.action'));
    if (!isOnline) return toast('warn', t('offline.action'));
    change();
  };
}
