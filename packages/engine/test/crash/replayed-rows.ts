import { type KvReader, memoryProvider } from "@cairn/kv";
import { emptyState } from "../../src/index/rows/index-state.ts";
import { IndexStore } from "../../src/index/index-store.ts";
import type { LogMessage } from "../../src/log/tx-log.ts";
import { separateRows } from "@cairn/test-support/nodes/separate-rows";

/** Throws unless an index has exactly the rows of a new index to which these messages were applied. */
export async function requireReplayed(
  found: KvReader,
  log: { readonly id: string; readonly name: string },
  messages: readonly LogMessage[],
): Promise<void> {
  const kv = await memoryProvider().open("replayed");
  const index = await IndexStore.open(
    kv,
    emptyState({ ...log, bounds: { first: 1, last: 0 }, birth: undefined }),
  );
  await index.apply(messages);
  const [rows, wanted] = [await allRows(found), await allRows(kv)];
  await index.close();
  const at = wanted.findIndex((row, place) => row !== rows[place]);
  if (at >= 0 || rows.length !== wanted.length) {
    throw new Error(
      `the index has ${rows.length} rows, a new one ${wanted.length}; ${rows[at]} is not ${wanted[at]}`,
    );
  }
}

async function allRows(reader: KvReader): Promise<string[]> {
  const all: string[] = [];
  for await (const some of separateRows(reader)) {
    for (const [key, value] of some) {
      all.push(`${Buffer.from(key).toString("latin1")} ${Buffer.from(value).toString("latin1")}`);
    }
  }
  return all;
}
