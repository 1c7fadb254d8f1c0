import type { ButtonHTMLAttributes, Ref } from 'react';
import { cx } from './class-names';

type Variant = 'primary' | 'secondary' | 'quiet';

interface ButtonProps extends ButtonHTMLAttributes<HTMLButtonElement> {
  variant?: Variant;
  busy?: boolean;
  ref?: Ref<HTMLButtonElement>;
}

const LOOKS: Record<Variant, string> = {
  primary: 'border-transparent bg-accent text-on-accent hover:opacity-90',
  secondary: 'border-line bg-surface text-ink hover:bg-wash',
  quiet: 'border-transparent bg-transparent text-ink hover:bg-wash',
};

/** A button that stays focusable while busy, so that the keyboard does not lose its place. */
export function Button({ variant = 'secondary', busy = false, className, onClick, children, ...rest }: ButtonProps) {
  return (
    <button
      type="button"
      aria-busy={busy || undefined}
      onClick={(event) => (busy ? event.preventDefault() : onClick?.(event))}
      className={cx(
        'inline-flex min-h-11 items-center justify-center gap-2 rounded-md border px-4 text-14 font-semibold whitespace-nowrap',
        'transition-[background-color,opacity] duration-120 disabled:opacity-50 desk:min-h-9 desk:px-3',
        'aria-busy:opacity-60 aria-disabled:opacity-50',
        LOOKS[variant],
        className,
      )}
      {...rest}
    >
      {children}
    </button>
  );
}

interface IconButtonProps extends ButtonHTMLAttributes<HTMLButtonElement> {
  label: string;
  ref?: Ref<HTMLButtonElement>;
}

export function IconButton({ label, className, children, ...rest }: IconButtonProps) {
  return (
    <button
      type="button"
      aria-label={label}
      title={label}
      className={cx(
        'inline-flex size-11 shrink-0 items-center justify-center rounded-md text-muted transition-colors duration-120',
        'hover:bg-wash hover:text-ink desk:size-8',
        className,
      )}
      {...rest}
    >
      {children}
    </button>
  );
}
