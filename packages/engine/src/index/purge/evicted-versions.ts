import type { KvOperation, KvRange, KvReader, KvRow, KvStore } from "@cairn/kv";
import type { TxId } from "@cairn/client";
import { type IndexState, readState, stateRow } from "../rows/index-state.ts";
import { headsOf } from "../rows/index-rows.ts";
import { erasureOf, evictionsAfter } from "../rows/purge-row.ts";
import { hasContentRow } from "../rows/version-values.ts";
import { allRows } from "../rows/row-cursor.ts";
import { unsealed } from "../rows/row-checksum.ts";
import { parseNumberedStem, ROW, versionRange, versionStem } from "../rows/row-keys.ts";

const ROWS_AT_ONCE = 1_000;

/**
 * Removes the versions of the keys that the last transaction evicted, and returns the state afterwards. They may not
 * fit into memory, so they are removed in slices after the transaction's batch, before anything else is applied. Until
 * then, `evicting` is true and {@link withoutEvicted} hides them. Must be called again if the process ends in between.
 */
export async function removeEvicted(kv: KvStore, before: IndexState): Promise<IndexState> {
  const state: IndexState = { ...before, evicting: undefined };
  let rows: KvOperation[] = [];
  for (const stem of await evictedStems(kv, state.txId)) {
    for await (const page of headsOf(kv).range(versionRange(stem))) {
      for (const [key, value] of page) {
        rows.push({ type: "del", key });
        if (hasContentRow(value)) rows.push(erasureOf(state.txId, key, value));
      }
      if (rows.length < ROWS_AT_ONCE) continue;
      await kv.batch(rows);
      rows = [];
    }
  }
  await kv.batch([...rows, stateRow(state)]);
  return state;
}

/** Returns a reader of the same rows without the versions that {@link removeEvicted} has not removed yet. */
export async function withoutEvicted(reader: KvReader): Promise<KvReader> {
  const state = await readState(reader);
  if (state?.evicting !== true) return reader;
  const stems = new Set((await evictedStems(reader, state.txId)).map((stem) => stem.toString("latin1")));
  const isShown = (key: Uint8Array): boolean =>
    key[0] !== ROW.version || !stems.has(versionStem(key).toString("latin1"));
  return {
    get: (key) => (isShown(key) ? reader.get(key) : undefined),
    getMany: async (keys) => {
      const values = await reader.getMany(keys);
      return values.map((value, at) => (isShown(keys[at] as Uint8Array) ? value : undefined));
    },
    range: (range) => shownRows(reader, range, isShown),
  };
}

async function* shownRows(
  reader: KvReader,
  { limit = Number.POSITIVE_INFINITY, ...range }: KvRange,
  isShown: (key: Uint8Array) => boolean,
): AsyncGenerator<readonly KvRow[], void> {
  let left = limit;
  if (left <= 0) return;
  for await (const rows of reader.range(range)) {
    const shown = rows.filter(([key]) => isShown(key)).slice(0, left);
    left -= shown.length;
    if (shown.length > 0) yield shown;
    if (left === 0) return;
  }
}

export async function evictedStems(reader: KvReader, txId: TxId): Promise<Buffer[]> {
  return (await allRows(reader, evictionsAfter(txId - 1, txId))).map(([key, value]) => {
    unsealed(key, value);
    return parseNumberedStem(key).stem;
  });
}
