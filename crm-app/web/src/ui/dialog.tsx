import { X } from 'lucide-react';
import { useEffect, useId, useRef, type ReactNode } from 'react';
import { IconButton } from './button';

interface DialogProps {
  title: string;
  closeLabel: string;
  onClose: () => void;
  /** Asked before closing by Escape, the backdrop or the cross; `false` keeps the dialog open. */
  mayClose?: () => boolean;
  children: ReactNode;
}

/**
 * A dialog on the desk, a sheet from below on a phone.
 *
 * The browser's own modal dialog: focus is kept inside, the rest is inert, and unlike scripted scroll locks it needs no
 * `<style>` element that the content security policy would refuse. Mount it to open it.
 */
export function Dialog({ title, closeLabel, onClose, mayClose = () => true, children }: DialogProps) {
  const ref = useRef<HTMLDialogElement>(null);
  const titleId = useId();

  useEffect(() => {
    const dialog = ref.current;
    if (dialog === null || dialog.open) return;
    dialog.showModal();
    // The browser would take the cross at the top; people come to fill in the first field or press the first button.
    const first = dialog.querySelector<HTMLElement>('.dialog-body input:not([type=radio]), .dialog-body select, footer button');
    first?.focus();
    document.documentElement.classList.add('overflow-hidden');
    return () => {
      document.documentElement.classList.remove('overflow-hidden');
      dialog.close();
    };
  }, []);

  const tryClose = () => {
    if (mayClose()) onClose();
  };

  return (
    <dialog
      ref={ref}
      aria-labelledby={titleId}
      onCancel={(event) => {
        // File pickers inside a dialog send a bubbling `cancel` too.
        if (event.target !== ref.current) return;
        event.preventDefault();
        tryClose();
      }}
      onMouseDown={(event) => {
        if (event.target === ref.current) tryClose();
      }}
      className={
        'dialog fixed inset-x-0 top-auto bottom-0 m-0 max-h-[92dvh] w-full max-w-none overflow-hidden rounded-t-sheet bg-surface p-0 text-ink shadow-float ' +
        'desk:inset-0 desk:m-auto desk:h-fit desk:max-h-[min(720px,90dvh)] desk:w-[520px] desk:rounded-sheet'
      }
    >
      <div className="flex max-h-[inherit] flex-col">
        <header className="flex items-center justify-between gap-4 border-b border-line py-2 pr-2 pl-4 desk:py-3 desk:pr-4 desk:pl-6">
          <h2 id={titleId} className="text-16">
            {title}
          </h2>
          <IconButton label={closeLabel} onClick={tryClose}>
            <X aria-hidden className="size-4" />
          </IconButton>
        </header>
        {children}
      </div>
    </dialog>
  );
}

/** The scrolling middle of a dialog. */
export function DialogBody({ children }: { children: ReactNode }) {
  return <div className="dialog-body flex min-h-0 flex-1 flex-col gap-4 overflow-y-auto overscroll-contain p-4 desk:p-6">{children}</div>;
}

/** The buttons of a dialog, always in view and clear of a phone's home bar. */
export function DialogActions({ children }: { children: ReactNode }) {
  return (
    <footer className="flex flex-row-reverse items-center gap-2 border-t border-line px-4 pt-3 pb-[max(12px,env(safe-area-inset-bottom))] desk:px-6 [&>button]:flex-1 desk:[&>button]:flex-none">
      {children}
    </footer>
  );
}
