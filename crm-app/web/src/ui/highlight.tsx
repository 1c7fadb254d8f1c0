import { Fragment } from 'react';

/** Same folding as the search on the server: full-width forms to plain ones, then lower case. */
function fold(text: string): string {
  return text.normalize('NFKC').toLowerCase();
}

/** Splits `text` around the matches of `query`. Odd places are matches. */
export function splitMatches(text: string, query: string): string[] {
  const needle = fold(query.trim());
  const characters = [...text];
  const folded = characters.map(fold);
  if (needle === '') return [text];
  const parts: string[] = [];
  let plainFrom = 0;
  let index = 0;
  while (index < characters.length) {
    const length = matchLength(folded, index, needle);
    if (length === 0) {
      index += 1;
      continue;
    }
    parts.push(characters.slice(plainFrom, index).join(''), characters.slice(index, index + length).join(''));
    index += length;
    plainFrom = index;
  }
  parts.push(characters.slice(plainFrom).join(''));
  return parts;
}

/** How many characters from `start` make up exactly `needle`, or 0. One character may fold to several. */
function matchLength(folded: readonly string[], start: number, needle: string): number {
  let seen = '';
  for (let index = start; index < folded.length && seen.length < needle.length; index += 1) {
    seen += folded[index];
    if (seen === needle) return index - start + 1;
  }
  return 0;
}

/** Splits a phone number before the digits of `query` at its end, whatever stands between them. */
export function splitPhoneTail(phone: string, query: string): string[] {
  const digits = query.normalize('NFKC').replace(/[\s+().-]/g, '');
  if (!/^\d{4,}$/.test(digits)) return [phone];
  const tail = new RegExp(`${[...digits].join('[^0-9]*')}[^0-9]*$`).exec(phone);
  return tail ? [phone.slice(0, tail.index), phone.slice(tail.index), ''] : [phone];
}

/** Shows why a search found this. */
export function Highlight({ text, query }: { text: string; query: string }) {
  return <Parts parts={splitMatches(text, query)} />;
}

export function HighlightPhone({ phone, query }: { phone: string; query: string }) {
  return <Parts parts={splitPhoneTail(phone, query)} />;
}

function Parts({ parts }: { parts: readonly string[] }) {
  return parts.map((part, index) => (index % 2 === 1 ? <mark key={index}>{part}</mark> : <Fragment key={index}>{part}</Fragment>));
}
