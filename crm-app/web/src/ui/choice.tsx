import { useId } from 'react';
import { cx } from './class-names';

interface ChoiceProps<T extends string> {
  legend: string;
  value: T;
  options: readonly { value: T; label: string }[];
  onChange: (value: T) => void;
}

/** A few exclusive values side by side. Radio buttons underneath, so arrows and screen readers work. */
export function Choice<T extends string>({ legend, value, options, onChange }: ChoiceProps<T>) {
  const name = useId();
  return (
    <fieldset className="flex flex-col gap-1">
      <legend className="mb-1 text-13 text-muted">{legend}</legend>
      <div className="flex overflow-hidden rounded-md border border-line bg-surface">
        {options.map((option) => (
          <label
            key={option.value}
            className={cx(
              'relative flex min-h-11 flex-1 items-center justify-center border-l border-line px-3 text-14 first:border-l-0 desk:min-h-[34px]',
              'has-focus-visible:outline-2 has-focus-visible:-outline-offset-2 has-focus-visible:outline-accent',
              option.value === value ? 'bg-tint font-semibold text-accent' : 'text-ink hover:bg-wash',
            )}
          >
            <input
              type="radio"
              name={name}
              className="absolute inset-0 cursor-pointer opacity-0"
              checked={option.value === value}
              onChange={() => onChange(option.value)}
            />
            {option.label}
          </label>
        ))}
      </div>
    </fieldset>
  );
}
