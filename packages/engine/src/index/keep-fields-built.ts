import { setImmediate } from "node:timers/promises";
import { activePolicies } from "./policies/active-policies.ts";
import type { IndexStore } from "./index-store.ts";
import { readBuckets } from "./read/bucket-reads.ts";

/** Builds fields now and whenever the policies change, until `signal` is aborted. Messages are applied meanwhile. */
export async function keepFieldsBuilt(index: IndexStore, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    // This yields to the event loop, because calls to a store in memory never do.
    if (await index.buildFields()) await setImmediate();
    else await index.fieldsToBuild(signal);
  }
}

/**
 * Builds the indexed fields whose build has not begun yet; returns when they are complete or `signal` is aborted.
 * Messages are applied meanwhile. `onProgress` gets the number of documents processed for them or for fields built
 * before them, and the approximate total.
 */
export async function buildNewFields(
  index: IndexStore,
  signal: AbortSignal,
  onProgress: (done: number, total: number) => void,
): Promise<void> {
  const fields = await index.fieldsBeingBuilt();
  const fresh = new Set([...fields].filter(([, isBegun]) => !isBegun).map(([id]) => id));
  if (fresh.size === 0) return;
  const total = await countDocuments(index, fresh);
  let processed = 0;
  const onDocuments = (count: number): void => {
    processed += count;
    onProgress(Math.min(processed, total), total);
  };
  let left = fresh;
  while (left.size > 0 && !signal.aborted) {
    await index.buildFields(onDocuments);
    await setImmediate();
    const now = await index.fieldsBeingBuilt();
    left = new Set([...left].filter((id) => now.has(id)));
  }
}

async function countDocuments(index: IndexStore, fields: ReadonlySet<number>): Promise<number> {
  const indexed = activePolicies(index.state).indexed;
  const { buckets } = await index.ask(readBuckets);
  return buckets
    .filter(({ name }) => indexed.get(name)?.some(({ id }) => fields.has(id)))
    .reduce((total, { documents }) => total + documents, 0);
}
