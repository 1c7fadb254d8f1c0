// @vitest-environment happy-dom
import { act, cleanup, fireEvent, render, screen } from '@testing-library/react';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { I18nProvider } from '../../i18n/context';
import { SearchBox } from './search-box';

const onSearch = vi.fn();
const box = () => screen.getByRole<HTMLInputElement>('searchbox');
const type = (value: string) => fireEvent.change(box(), { target: { value } });
const pause = () => act(() => vi.advanceTimersByTime(1000));

beforeEach(() => {
  vi.useFakeTimers();
  onSearch.mockClear();
  render(
    <I18nProvider>
      <SearchBox value="" onSearch={onSearch} />
    </I18nProvider>,
  );
});

afterEach(() => {
  cleanup();
  vi.useRealTimers();
});

it('searches once when typing pauses', () => {
  type('n');
  type('no');
  type('nord');
  expect(onSearch).not.toHaveBeenCalled();
  pause();
  expect(onSearch.mock.calls).toEqual([['nord']]);
});

it('does not search for letters that are being composed into a word', () => {
  fireEvent.compositionStart(box());
  type('shi li');
  pause();
  fireEvent.keyDown(box(), { key: 'Enter', isComposing: true });
  fireEvent.keyDown(box(), { key: 'Escape', isComposing: true });
  expect(onSearch).not.toHaveBeenCalled();
  type('示例');
  fireEvent.compositionEnd(box());
  pause();
  expect(onSearch.mock.calls).toEqual([['示例']]);
});

it('clears with Escape', () => {
  type('nord');
  pause();
  fireEvent.keyDown(box(), { key: 'Escape' });
  expect(box().value).toBe('');
  expect(onSearch).toHaveBeenLastCalledWith('');
});
