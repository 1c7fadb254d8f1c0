// @vitest-environment happy-dom
import { QueryClient, QueryClientProvider } from '@tanstack/react-query';
import { cleanup, fireEvent, render, screen } from '@testing-library/react';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { ApiError } from '../../api/problem';
import type { Session } from '../../api/types';
import { I18nProvider } from '../../i18n/context';
import { translator } from '../../i18n';
import { SignedInProvider } from '../session/session';
import { ExportForm } from './export-form';

const { newExitLink, download } = vi.hoisted(() => ({ newExitLink: vi.fn(), download: vi.fn() }));
vi.mock('../../api/exit-bundle', () => ({ newExitLink }));
vi.mock('../../ui/download', () => ({ download }));

const t = translator('zh-CN');
const LINK = '/api/v1/exit-bundle?token=one';
const session = {
  user: { email: 'fang@acme.example', role: 'admin' },
  workspace: { timeZone: 'Asia/Shanghai', currency: 'CNY', state: 'ReadOnly' },
} as Session;
const box = () => screen.getByLabelText<HTMLInputElement>(t('export.password'));
const send = (password: string) => {
  fireEvent.change(box(), { target: { value: password } });
  fireEvent.click(screen.getByRole('button', { name: t('export.submit') }));
};

beforeEach(() => {
  localStorage.setItem('locale', 'zh-CN');
  render(
    <QueryClientProvider client={new QueryClient({ defaultOptions: { mutations: { networkMode: 'always' } } })}>
      <I18nProvider>
        <SignedInProvider session={session}>
          <ExportForm />
        </SignedInProvider>
      </I18nProvider>
    </QueryClientProvider>,
  );
});

afterEach(() => {
  cleanup();
  vi.resetAllMocks();
});

it('hands the link to the browser and forgets the password, also when read-only', async () => {
  newExitLink.mockResolvedValue({ link: LINK, expiresAt: '2026-11-22T01:05:00Z' });
  send('correct horse');
  await screen.findByText(t('export.started'));
  expect(newExitLink.mock.calls).toEqual([['correct horse']]);
  expect(download.mock.calls).toEqual([[LINK]]);
  expect(box().value).toBe('');
});

it('asks nobody without a password', () => {
  send('');
  expect(screen.getByText(t('field.required'))).toBeTruthy();
  expect(newExitLink).not.toHaveBeenCalled();
});

it('says at the field that the password is wrong, and nobody is signed out', async () => {
  const errors = [{ pointer: '/password', code: 'wrong' }];
  newExitLink.mockRejectedValue(new ApiError('invalid', 422, { errors }));
  send('guess');
  await screen.findByText(t('field.wrong'));
  expect(box().getAttribute('aria-invalid')).toBe('true');
  expect(download).not.toHaveBeenCalled();
});

it.each([
  [new ApiError('export-running', 409), t('error.export-running')],
  [new ApiError('export-unavailable', 501), t('error.export-unavailable')],
  [new ApiError('rate-limited', 429, {}, 290), t('export.error.rateLimited', { minutes: 5 })],
  [new ApiError('offline', 0), t('error.offline')],
])('says in words why there is no download: %s', async (error, words) => {
  newExitLink.mockRejectedValue(error);
  send('correct horse');
  expect((await screen.findByRole('alert')).textContent).toBe(words);
  expect(download).not.toHaveBeenCalled();
});
