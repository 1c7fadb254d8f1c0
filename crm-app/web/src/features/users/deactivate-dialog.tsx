import type { User } from '../../api/types';
import { useT } from '../../i18n/context';
import { Button } from '../../ui/button';
import { Dialog, DialogActions, DialogBody } from '../../ui/dialog';
import { Notice } from '../../ui/feedback';
import { useToast } from '../../ui/toast';
import { useUpdateUser } from './queries';
import { userErrorText } from './user-error';

export function DeactivateDialog({ user, onClose }: { user: User; onClose: () => void }) {
  const t = useT();
  const toast = useToast();
  const update = useUpdateUser();
  const deactivate = () =>
    update.mutate(
      { id: user.id, patch: { status: 'deactivated' } },
      {
        onSuccess: () => {
          onClose();
          toast('done', t('users.saved.deactivated', { name: user.name }));
        },
      },
    );
  return (
    <Dialog title={t('users.deactivate.title', { name: user.name })} closeLabel={t('action.close')} onClose={onClose}>
      <DialogBody>
        {update.isError ? (
          <Notice tone="warn" role="alert">{userErrorText(update.error, t)}</Notice>
        ) : null}
        <p className="text-muted">{t('users.deactivate.text')}</p>
      </DialogBody>
      <DialogActions>
        <Button variant="primary" busy={update.isPending} onClick={deactivate}>
          {t('users.deactivate')}
        </Button>
        <Button onClick={onClose}>{t('action.cancel')}</Button>
      </DialogActions>
    </Dialog>
  );
}
