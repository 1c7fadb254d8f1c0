import { describe, expect, it } from 'vitest';
import { isProblem, problemFrom } from './problem';

const response = (status: number, headers: HeadersInit = {}) => new Response(null, { status, headers });

describe('problemFrom', () => {
  it('keeps the type and the refused fields', () => {
    const errors = [{ pointer: '/uscc', code: 'checksum' }];
    const problem = problemFrom(response(422), { type: 'invalid', title: '', status: 422, detail: 'no', errors });
    expect(isProblem(problem, 'invalid')).toBe(true);
    expect(problem.fields).toEqual(errors);
  });

  it('takes the type from the status when a gateway answers in its own words', () => {
    expect(problemFrom(response(503), '<html>busy</html>').type).toBe('unavailable');
    expect(problemFrom(response(502), undefined).type).toBe('unavailable');
    expect(problemFrom(response(500), { type: 'https://example.com/whatever' }).type).toBe('internal');
    expect(problemFrom(response(401), '').type).toBe('unauthorized');
  });

  it('reads how long to wait', () => {
    expect(problemFrom(response(429, { 'Retry-After': '30' }), {}).retryAfterSeconds).toBe(30);
    expect(problemFrom(response(429), {}).retryAfterSeconds).toBeUndefined();
  });
});
