import type { ComponentChildren } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";

/** A fold that opens when something in it is wrong, and is otherwise the reader's. */
export function OpenDetails({
  title,
  kind,
  wrong,
  children,
}: {
  title: string;
  kind: string;
  wrong: boolean;
  children: ComponentChildren;
}) {
  const element = useRef<HTMLDetailsElement>(null);
  useLayoutEffect(() => {
    if (wrong && element.current) element.current.open = true;
  }, [wrong]);
  return (
    <details class={kind} ref={element}>
      <summary>{title}</summary>
      {children}
    </details>
  );
}
