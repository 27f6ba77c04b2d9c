import type { Entry } from "./history";

/** The runs of this browser, the latest first. */
export function HistoryList({ entries, open, clear }: { entries: Entry[]; open: (entry: Entry) => void; clear: () => void }) {
  if (!entries.length) return null;
  return (
    <details class="history">
      <summary>History in this browser ({entries.length})</summary>
      <ul>
        {entries.map((entry) => (
          <li key={entry.id}>
            <button type="button" class="entry" onClick={() => open(entry)}>
              <span class="when">{new Date(entry.time).toLocaleString()}</span> {entry.chains.map(({ label }) => label).join(" · ")}
              <span class="statement">{entry.settings.problem.slice(0, 120)}</span>
            </button>
          </li>
        ))}
      </ul>
      <button type="button" class="plain" onClick={clear}>
        Forget all
      </button>
    </details>
  );
}
