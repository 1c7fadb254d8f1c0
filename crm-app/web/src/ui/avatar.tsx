/** The last two characters of a Chinese given name, or the initials of a Latin one. */
export function initials(name: string): string {
  const trimmed = name.trim();
  if (/\p{Script=Han}/u.test(trimmed)) return [...trimmed.replace(/\s/g, '')].slice(-2).join('');
  const words = trimmed.split(/\s+/);
  const letters = words.length > 1 ? [words[0], words.at(-1)].map((word) => word?.[0] ?? '') : [...trimmed].slice(0, 2);
  return letters.join('').toUpperCase();
}

export function Avatar({ name }: { name: string }) {
  return (
    <span
      aria-hidden
      className="inline-flex size-8 shrink-0 items-center justify-center rounded-full border border-line bg-wash text-12 font-semibold text-muted"
    >
      {initials(name)}
    </span>
  );
}
