import { Search, X } from 'lucide-react';
import { useEffect, useEffectEvent, useRef, useState } from 'react';
import { useT } from '../../i18n/context';
import { TextInput } from '../../ui/field';
import { IconButton } from '../../ui/button';
import { useIsDesk } from '../../ui/hooks';
import { useShortcut } from '../../ui/shortcuts';

const PAUSE_MS = 180;

interface SearchBoxProps {
  value: string;
  onSearch: (q: string) => void;
}

/** Searches when typing pauses, and never in the middle of composing a Chinese word. */
export function SearchBox({ value, onSearch }: SearchBoxProps) {
  const t = useT();
  const isDesk = useIsDesk();
  const input = useRef<HTMLInputElement>(null);
  const [text, setText] = useState(value);
  const [isComposing, setIsComposing] = useState(false);
  const onPause = useEffectEvent(onSearch);
  useShortcut('/', () => input.current?.select());

  // Back and forward change the address under us.
  const [seenValue, setSeenValue] = useState(value);
  if (value !== seenValue) {
    setSeenValue(value);
    if (value !== text.trim()) setText(value);
  }

  useEffect(() => {
    if (isComposing || text.trim() === value) return;
    const timer = setTimeout(() => onPause(text.trim()), PAUSE_MS);
    return () => clearTimeout(timer);
  }, [text, value, isComposing]);

  const clear = () => {
    setText('');
    onSearch('');
    input.current?.focus();
  };

  return (
    <div role="search" className="relative min-w-0 flex-1 desk:max-w-96">
      <Search aria-hidden className="pointer-events-none absolute top-1/2 left-3 size-4 -translate-y-1/2 text-muted" />
      <TextInput
        ref={input}
        type="text"
        role="searchbox"
        inputMode="search"
        enterKeyHint="search"
        aria-label={t('companies.search')}
        placeholder={t(isDesk ? 'companies.search.placeholder' : 'companies.search.placeholderShort')}
        autoComplete="off"
        spellCheck={false}
        value={text}
        onChange={(event) => setText(event.target.value)}
        onCompositionStart={() => setIsComposing(true)}
        onCompositionEnd={(event) => {
          setIsComposing(false);
          setText(event.currentTarget.value);
        }}
        onKeyDown={(event) => {
          if (event.nativeEvent.isComposing || event.keyCode === 229) return;
          if (event.key === 'Enter') onSearch(text.trim());
          if (event.key === 'Escape') text === '' ? input.current?.blur() : clear();
        }}
        className="pr-11 pl-9"
      />
      {text === '' ? (
        <kbd
          aria-hidden
          className="pointer-events-none absolute top-1/2 right-2 hidden size-5 -translate-y-1/2 items-center justify-center rounded-md border border-line font-sans text-12 text-muted desk:inline-flex"
        >
          /
        </kbd>
      ) : (
        <IconButton
          label={t('companies.search.clear')}
          onClick={clear}
          className="absolute top-1/2 right-0 -translate-y-1/2 desk:right-0.5"
        >
          <X aria-hidden className="size-4" />
        </IconButton>
      )}
    </div>
  );
}
