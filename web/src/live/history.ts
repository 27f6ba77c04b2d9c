// Runs that this browser has seen, in its own database. Nothing of them leaves the machine.

import type { AnyEvent } from "../data/types";
import type { Settings } from "./settings";

export interface Entry {
  id: number;
  time: number;
  settings: Settings;
  chains: { label: string; events: AnyEvent[]; answer: string | null; right: boolean | null; expected: string | null }[];
}

const NAME = "speculative";
const STORE = "runs";
const MOST = 30;

function opened(): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(NAME, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE, { keyPath: "id" });
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

function done<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

async function store(mode: IDBTransactionMode): Promise<IDBObjectStore> {
  return (await opened()).transaction(STORE, mode).objectStore(STORE);
}

/** The entries, the latest first; none where the browser keeps no data. */
export async function entries(): Promise<Entry[]> {
  try {
    const found = (await done((await store("readonly")).getAll())) as Entry[];
    return found.sort((one, other) => other.id - one.id);
  } catch {
    return [];
  }
}

/** Keeps an entry, and forgets the oldest beyond a number. */
export async function keep(entry: Entry): Promise<void> {
  try {
    await done((await store("readwrite")).put(entry));
    for (const { id } of (await entries()).slice(MOST)) await done((await store("readwrite")).delete(id));
  } catch {
    // a browser that keeps no data has no history
  }
}

export async function forget(): Promise<void> {
  try {
    await done((await store("readwrite")).clear());
  } catch {
    // nothing was kept
  }
}
