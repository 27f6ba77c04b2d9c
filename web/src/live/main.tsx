import { render } from "preact";
import { useState } from "preact/hooks";
import { App } from "./app";
import { Service, ServiceError } from "./service";

const page = document.getElementById("page")!;
const service = new Service();

const focus = (element: HTMLElement | null) => element?.focus();

/** Asks for a key; it stays in memory and is gone with the page. */
function KeyForm({ wrong, use }: { wrong: boolean; use: (key: string) => void }) {
  const [key, setKey] = useState("");
  return (
    <main class="app">
      <form
        class="ask key-form"
        onSubmit={(event) => {
          event.preventDefault();
          use(key);
        }}
      >
        <h1>This service needs a key</h1>
        <div class={`field${wrong ? " bad" : ""}`}>
          <label for="key">Key</label>
          <input
            id="key"
            type="password"
            autocomplete="off"
            ref={focus}
            value={key}
            aria-invalid={wrong || undefined}
            aria-describedby="key.about"
            onInput={(event) => setKey(event.currentTarget.value)}
          />
          <p id="key.about" class={wrong ? "mistake" : "hint"}>
            {wrong ? "The service does not take this key." : "It is kept in memory only, until this page is closed."}
          </p>
        </div>
        <button type="submit" class="primary">
          Go on
        </button>
      </form>
    </main>
  );
}

/** Shows a line in place of all that stood there. */
function say(text: string): void {
  render(null, page);
  page.replaceChildren(...(text ? [text] : []));
}

async function open(tried = false): Promise<void> {
  try {
    let list = await service.methods();
    while (!list.loaded) {
      say("The models are loading …");
      await new Promise((resolve) => setTimeout(resolve, 1000));
      list = await service.methods();
    }
    say("");
    render(<App service={service} list={list} />, page);
  } catch (error) {
    say("");
    if (error instanceof ServiceError && error.status === 401) {
      const use = (key: string) => {
        service.useKey(/^[\x21-\x7e]*$/.test(key.trim()) ? key : "");
        void open(true);
      };
      render(<KeyForm wrong={tried} use={use} />, page);
    } else say(`The page cannot be shown: ${error instanceof Error ? error.message : error}`);
  }
}

void open();
