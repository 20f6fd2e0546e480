import { type KvOperation, levelProvider } from "@cairn/kv";
import type { TxId } from "@cairn/client";
import { encodeState, readState } from "../src/index/rows/index-state.ts";
import { STATE_ROW_KEY, transactionRowKey } from "../src/index/rows/row-keys.ts";

/**
 * Removes the outcomes up to `upTo`, which is divisible by 32, from an index that no node has open, as a policy does once
 * the index has 2,000,000 more transactions.
 */
export async function withoutOutcomes(dir: string, upTo: TxId): Promise<void> {
  const kv = await levelProvider().open(dir);
  try {
    const state = await readState(kv);
    if (state === undefined) throw new Error(`there is no index in ${dir}`);
    const changes: KvOperation[] = [
      { type: "put", key: STATE_ROW_KEY, value: encodeState({ ...state, outcomesAfter: upTo }) },
    ];
    for await (const rows of kv.range({ gte: transactionRowKey(0), lte: transactionRowKey(upTo) }))
      for (const [key] of rows) changes.push({ type: "del", key });
    await kv.batch(changes);
  } finally {
    await kv.close();
  }
}
