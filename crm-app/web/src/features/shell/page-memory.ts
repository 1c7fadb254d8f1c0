import { useEffect, useLayoutEffect, useRef, type RefObject } from 'react';
import { useLocation, useSearch } from 'wouter';

const positions = new Map<string, number>();

/**
 * For the scrolling part of the page: a new address begins at its top, one that was left stands where it was left, and
 * the keyboard and screen readers go along to a new page.
 */
export function usePageMemory(): RefObject<HTMLElement | null> {
  const ref = useRef<HTMLElement>(null);
  const [path] = useLocation();
  const search = useSearch();
  const address = `${path}?${search}`;

  useLayoutEffect(() => {
    const element = ref.current;
    if (element === null) return;
    element.scrollTop = positions.get(address) ?? 0;
    const remember = () => positions.set(address, element.scrollTop);
    element.addEventListener('scroll', remember, { passive: true });
    return () => element.removeEventListener('scroll', remember);
  }, [address]);

  const seenPath = useRef(path);
  useEffect(() => {
    if (seenPath.current === path) return;
    seenPath.current = path;
    ref.current?.focus({ preventScroll: true });
  }, [path]);

  return ref;
}
