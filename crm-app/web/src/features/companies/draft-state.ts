import { useRef, useState } from 'react';
import { fieldErrors } from '../shell/error-text';
import { checkDraft, isFieldName, type Draft, type DraftErrors, type FieldName } from './fields';

/** A form being filled in: its values, what is wrong with them, and whether anything would be lost. */
export function useDraft(initial: Draft) {
  const [draft, setDraft] = useState(initial);
  const [errors, setErrors] = useState<DraftErrors>({});
  const [start] = useState(initial);
  const formRef = useRef<HTMLFormElement>(null);

  const change = (field: FieldName, value: string) => {
    setDraft((current) => ({ ...current, [field]: value }));
    setErrors(({ [field]: _gone, ...others }) => others);
  };

  const show = (found: DraftErrors) => {
    setErrors(found);
    // The first field with an error, in the order in which people see them.
    const marked = [...(formRef.current?.querySelectorAll<HTMLElement>('[name]') ?? [])];
    marked.find((element) => (element.getAttribute('name') ?? '') in found)?.focus();
    return Object.keys(found).length === 0;
  };

  return {
    draft,
    errors,
    formRef,
    isDirty: (Object.keys(draft) as FieldName[]).some((field) => draft[field] !== start[field]),
    change,
    /** Marks what is wrong; true when nothing is. */
    check: () => show(checkDraft(draft)),
    showServerErrors: (error: unknown) => show(companyErrors(error)),
  };
}

function companyErrors(error: unknown): DraftErrors {
  return Object.fromEntries(Object.entries(fieldErrors(error)).filter(([field]) => isFieldName(field)));
}
