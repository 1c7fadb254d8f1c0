import { Check, Copy } from 'lucide-react';
import { useRef, useState } from 'react';
import { useT } from '../../i18n/context';
import { Button } from '../../ui/button';
import { Dialog, DialogActions, DialogBody } from '../../ui/dialog';
import { TextInput } from '../../ui/field';
import { useSignedIn } from '../session/session';

export interface HandOver {
  name: string;
  /** As the API gives it: a path of this site. */
  link: string;
  expiresAt: string;
}

/** A one-time link, to be handed over by whatever way people talk anyway. */
export function LinkDialog({ name, link, expiresAt, onClose }: HandOver & { onClose: () => void }) {
  const t = useT();
  const { format } = useSignedIn();
  const linkRef = useRef<HTMLInputElement>(null);
  const [isCopied, setIsCopied] = useState(false);
  const address = new URL(link, window.location.origin).href;
  const copy = async () => {
    linkRef.current?.select();
    try {
      await navigator.clipboard.writeText(address);
      setIsCopied(true);
    } catch {
      // Without the permission the link stands selected, ready for the person's own copy.
      linkRef.current?.focus();
    }
  };
  return (
    <Dialog title={t('link.title')} closeLabel={t('action.close')} onClose={onClose}>
      <DialogBody>
        <p>{t('link.lead', { name })}</p>
        <TextInput
          ref={linkRef}
          readOnly
          aria-label={t('link.label')}
          value={address}
          onFocus={(event) => event.target.select()}
          className="bg-wash"
        />
        <p className="text-13 text-muted">{t('link.how')}</p>
        <p className="text-13 text-muted">
          {t('link.until', { time: format.instant(expiresAt) })}
        </p>
      </DialogBody>
      <DialogActions>
        <Button variant="primary" onClick={() => void copy()}>
          {isCopied ? <Check aria-hidden className="size-4" /> : <Copy aria-hidden className="size-4" />}
          <span aria-live="polite">{t(isCopied ? 'action.copied' : 'action.copy')}</span>
        </Button>
        <Button onClick={onClose}>{t('action.close')}</Button>
      </DialogActions>
    </Dialog>
  );
}
