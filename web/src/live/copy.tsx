import { useState } from "preact/hooks";
import type { Ask } from "./settings";
import { commandLine, curl, python } from "./snippets";

/** Buttons that copy a request as code. Where the clipboard is closed to the page, the code is shown to be copied by hand. */
export function CopyButtons({ ask, keyed, pair }: { ask: Ask; keyed: boolean; pair: Record<string, string> }) {
  const [shown, show] = useState<{ title: string; code: string; copied: boolean } | null>(null);
  const base = new URL(".", location.href);
  const kinds: [string, () => string][] = [
    ["curl", () => curl(ask, base, keyed)],
    ["Python", () => python(ask, base, keyed)],
    ["command line", () => commandLine(ask, pair)],
  ];
  const copy = async (title: string, code: string) => {
    show({ title, code, copied: await copyText(code) });
  };
  return (
    <div class="copy">
      <span class="hint">Copy as</span>
      {kinds.map(([title, code]) => (
        <button key={title} type="button" class="plain" onClick={() => void copy(title, code())}>
          {title}
        </button>
      ))}
      {shown && (
        <div class="copied">
          <p class="hint" role="status">
            {shown.copied ? `Copied as ${shown.title}.` : "The browser keeps its clipboard closed; copy this:"}
          </p>
          <pre tabindex={0} data-kind={shown.title}>
            {shown.code}
          </pre>
        </div>
      )}
    </div>
  );
}

/** Copies a text; false where the browser does not let the page, as on an address without encryption. */
export async function copyText(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false;
  }
}
