import { CairnError, type KvOperation, type KvStore } from "@cairn/kv";
import { expect } from "vitest";

/**
 * With `lost`, the store continues without the batch. With `unknown`, the store fails as on a full disk, with or
 * without the batch, and is reopened.
 */
export type Fault = "lost" | "unknown, written" | "unknown, not written";

/** The faults of future calls. False stands for success. */
export interface Faults {
  readonly reads: readonly boolean[];
  readonly batches: readonly (Fault | false)[];
}

/** No failures. */
export const NONE: Faults = { reads: [], batches: [] };

/** A store in which any call may fail. */
export class FaultyKv {
  readonly store: KvStore;
  faults: Faults = NONE;
  /** A batch failed, and may or may not be stored. */
  isSuspect = false;

  constructor(rows: KvStore) {
    this.store = {
      get: (key) => (this.#fails() ? refused() : rows.get(key)),
      getMany: (keys) => (this.#fails() ? refused() : rows.getMany(keys)),
      range: (range) => (this.#fails() ? refusedRange() : rows.range(range)),
      batch: (operations) => this.#batch(rows, operations),
      snapshot: () => rows.snapshot(),
      capture: (dir) => rows.capture(dir),
      compact: () => rows.compact(),
      stats: () => rows.stats(),
      close: () => rows.close(),
    };
  }

  #fails(): boolean {
    const [fails = false, ...reads] = this.faults.reads;
    this.faults = { ...this.faults, reads };
    return fails;
  }

  async #batch(rows: KvStore, operations: readonly KvOperation[]): Promise<void> {
    const [next = false, ...batches] = this.faults.batches;
    const fault = this.isSuspect ? "unknown, not written" : next;
    this.faults = { ...this.faults, batches };
    if (fault === false) return await rows.batch(operations);
    if (fault === "unknown, written") await rows.batch(operations);
    this.isSuspect = fault !== "lost";
    return await refused();
  }
}

function refused(): Promise<never> {
  return Promise.reject(new CairnError("DISK_FULL", "No space left."));
}

async function* refusedRange(): AsyncGenerator<never> {
  yield await refused();
}

/** Requires that a failure results only in the store's own error. */
export async function survived(work: Promise<unknown>): Promise<void> {
  const [end] = await Promise.allSettled([work]);
  if (end?.status === "rejected") expect(end.reason).toMatchObject({ code: "DISK_FULL" });
}
