import { setImmediate } from "node:timers/promises";
import { activePolicies } from "./policies/active-policies.ts";
import type { IndexStore } from "./index-store.ts";

/** Builds indexed fields beside what is applied, now and whenever the policies change, until it is aborted. */
export async function keepFieldsBuilt(index: IndexStore, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    // Reads and requests come in between, though a store in memory never waits.
    if (await index.buildFields()) await setImmediate();
    else await index.fieldsToBuild(signal);
  }
}

/**
 * Builds the indexed fields that nobody has begun to build, beside what is applied, until they are whole or it is aborted. Of those, and of
 * others that are built before them, `onProgress` is told how many documents were looked at, and about how many there are.
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
  let looked = 0;
  const onDocuments = (count: number): void => {
    looked += count;
    onProgress(Math.min(looked, total), total);
  };
  let left = fresh;
  while (left.size > 0 && !signal.aborted) {
    await index.buildFields(onDocuments);
    await setImmediate();
    const now = await index.fieldsBeingBuilt();
    left = new Set([...left].filter((id) => now.has(id)));
  }
}

/** How many documents the buckets of indexed fields have. */
async function countDocuments(index: IndexStore, fields: ReadonlySet<number>): Promise<number> {
  const indexed = activePolicies(index.state)?.indexed;
  const { buckets } = await index.buckets();
  return buckets
    .filter(({ name }) => indexed?.get(name)?.some(({ id }) => fields.has(id)))
    .reduce((total, { documents }) => total + documents, 0);
}
