// @vitest-environment happy-dom
import { expect, it } from 'vitest';
import { isTyping } from './shortcuts';

function keyIn(html: string, init: KeyboardEventInit = {}): KeyboardEvent {
  document.body.innerHTML = html;
  const event = new KeyboardEvent('keydown', { key: 'c', bubbles: true, ...init });
  document.body.firstElementChild?.dispatchEvent(event);
  return event;
}

it('knows when the keyboard belongs to text', () => {
  expect(isTyping(keyIn('<input>'))).toBe(true);
  expect(isTyping(keyIn('<textarea></textarea>'))).toBe(true);
  expect(isTyping(keyIn('<button></button>', { isComposing: true }))).toBe(true);
  expect(isTyping(keyIn('<button></button>'))).toBe(false);
  expect(isTyping(keyIn('<input type="radio">'))).toBe(false);
});
