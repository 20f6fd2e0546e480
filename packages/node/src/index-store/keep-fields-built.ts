import { setImmediate } from "node:timers/promises";
import type { IndexStore } from "./index-store.ts";

/** Builds indexed fields beside what is applied, now and whenever the policies change, until it is aborted. */
export async function keepFieldsBuilt(index: IndexStore, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    // Reads and requests come in between, though a store in memory never waits.
    if (await index.buildFields()) await setImmediate();
    else await index.fieldsToBuild(signal);
  }
}
