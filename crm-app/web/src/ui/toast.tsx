import { CircleCheck, TriangleAlert } from 'lucide-react';
import { createContext, use, useCallback, useMemo, useRef, useState, type ReactNode } from 'react';

type Tone = 'done' | 'warn';

interface Toast {
  id: number;
  tone: Tone;
  text: string;
}

const SHOWN_MS = 6_000;
const ToastContext = createContext<(tone: Tone, text: string) => void>(() => {});

export function useToast(): (tone: Tone, text: string) => void {
  return use(ToastContext);
}

/** Short messages at the bottom; read out politely, gone by themselves. */
export function ToastProvider({ children }: { children: ReactNode }) {
  const [toasts, setToasts] = useState<Toast[]>([]);
  const nextId = useRef(0);
  const show = useCallback((tone: Tone, text: string) => {
    const id = nextId.current++;
    setToasts((shown) => [...shown.filter((toast) => toast.text !== text), { id, tone, text }].slice(-3));
    setTimeout(() => setToasts((shown) => shown.filter((toast) => toast.id !== id)), SHOWN_MS);
  }, []);
  const value = useMemo(() => show, [show]);
  return (
    <ToastContext value={value}>
      {children}
      <div
        role="status"
        className="pointer-events-none fixed inset-x-0 bottom-[calc(72px+env(safe-area-inset-bottom))] z-40 flex flex-col items-center gap-2 px-4 desk:bottom-6"
      >
        {toasts.map((toast) => (
          <div
            key={toast.id}
            className="toast flex max-w-[72ch] items-center gap-2 rounded-md border border-line bg-surface px-4 py-3 text-14 shadow-float"
          >
            {toast.tone === 'done' ? (
              <CircleCheck aria-hidden className="size-4 shrink-0 text-won" />
            ) : (
              <TriangleAlert aria-hidden className="size-4 shrink-0 text-warn" />
            )}
            {toast.text}
          </div>
        ))}
      </div>
    </ToastContext>
  );
}
