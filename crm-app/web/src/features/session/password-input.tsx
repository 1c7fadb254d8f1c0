import { Eye, EyeOff } from 'lucide-react';
import { useState, type ComponentProps } from 'react';
import { useT } from '../../i18n/context';
import { TextInput } from '../../ui/field';
import { IconButton } from '../../ui/button';

/** A password that may be looked at: fewer typing errors on phones, fewer second fields. */
export function PasswordInput(props: ComponentProps<typeof TextInput>) {
  const t = useT();
  const [isShown, setIsShown] = useState(false);
  const Icon = isShown ? EyeOff : Eye;
  return (
    <div className="relative">
      <TextInput {...props} type={isShown ? 'text' : 'password'} className="pr-12" autoCapitalize="off" spellCheck={false} />
      <IconButton
        label={t(isShown ? 'session.password.hide' : 'session.password.show')}
        onClick={() => setIsShown(!isShown)}
        className="absolute top-1/2 right-0 -translate-y-1/2 desk:right-0.5"
      >
        <Icon aria-hidden className="size-4" />
      </IconButton>
    </div>
  );
}
