import { expect } from "vitest";
import type { IndexStore } from "../../../src/index/index-store.ts";
import { type ChangesPage, readChanges } from "../../../src/index/read/transaction-changes.ts";
import { WatchCompactedError } from "../../../src/index/read/watch-compacted.ts";

const BOUNDS = [
  { maxTransactions: 10_000, maxBytes: 10_000_000 },
  { maxTransactions: 3, maxBytes: 10_000_000 },
  { maxTransactions: 10_000, maxBytes: 400 },
];

/**
 * Expects that the changes that an index has kept are, byte for byte, those that it reads, after every one of its last
 * `reach` transactions, and that it has kept the last one unless that evicted. Returns the number of pages it has kept.
 */
export async function expectBothWays(index: IndexStore, reach: number): Promise<number> {
  const { state } = index;
  let kept = 0;
  for (let after = Math.max(0, state.txId - reach); after < state.txId; after += 1) {
    for (const bounds of BOUNDS) {
      const applied = index.changes.read({ after, ...bounds }, state);
      const read = await index
        .read((reader) => readChanges(reader, { after, upTo: state.txId, ...bounds }))
        .catch(compactedAsUndefined);
      if (applied !== undefined) {
        expect(JSON.stringify(applied)).toBe(JSON.stringify(read));
        kept += 1;
      } else if (after === state.txId - 1) expect(read === undefined || evicts(read)).toBe(true);
    }
  }
  return kept;
}

function compactedAsUndefined(error: unknown): undefined {
  if (!(error instanceof WatchCompactedError)) throw error;
}

function evicts({ transactions }: ChangesPage): boolean {
  return transactions.some(({ changes }) => changes.some(({ op }) => op === "evict"));
}
