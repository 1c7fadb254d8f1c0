/** A hint about a password while it is typed. The server decides; this only helps to choose well. */

export const PASSWORD_MIN = 8;

export type Strength = { level: 'short'; missing: number } | { level: 'weak' | 'fair' | 'strong' };

const POOLS: readonly [RegExp, number][] = [
  [/[a-z]/, 26],
  [/[A-Z]/, 26],
  [/[0-9]/, 10],
  [/[^A-Za-z0-9]/, 33],
  [/\p{Script=Han}/u, 2000],
];

/** Estimates by the variety of what is there, counting runs such as `aaaa` and `1234` once. */
export function passwordStrength(password: string): Strength {
  const characters = [...password];
  if (characters.length < PASSWORD_MIN) return { level: 'short', missing: PASSWORD_MIN - characters.length };
  const pool = POOLS.reduce((sum, [pattern, size]) => (pattern.test(password) ? sum + size : sum), 0);
  const surprising = characters.filter((character, index) => isSurprising(character, characters[index - 1])).length;
  const bits = surprising * Math.log2(Math.max(pool, 2));
  if (bits < 40) return { level: 'weak' };
  return { level: bits < 70 ? 'fair' : 'strong' };
}

function isSurprising(character: string, previous: string | undefined): boolean {
  if (previous === undefined) return true;
  const step = (character.codePointAt(0) ?? 0) - (previous.codePointAt(0) ?? 0);
  return step > 1 || step < -1;
}
