/** The logo: a vermilion seal with 客 (guest, customer) in plain strokes. The same drawing as icons/seal.svg. */
export function Seal({ className }: { className?: string }) {
  return (
    <svg viewBox="0 0 48 48" aria-hidden className={className}>
      <path className="fill-seal" d={SEAL_BODY} />
      <path className="stroke-surface" d={SEAL_STROKES} fill="none" strokeWidth="2.8" strokeLinecap="square" strokeLinejoin="miter" />
    </svg>
  );
}

export const SEAL_BODY = 'M6 2h36a4 4 0 0 1 4 4v36a4 4 0 0 1-4 4H6a4 4 0 0 1-4-4V6a4 4 0 0 1 4-4Z';
export const SEAL_STROKES =
  'M24 7v4.5M8.5 18v-6.5h31V18M19.5 16.5 11 23M18 18.5h13.5C29 24 22 29 9.5 31.5M18 22.5C23 28 30 30.5 38.5 31.5M16 33.5h16v7H16Z';
