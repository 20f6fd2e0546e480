import type { KvReader, KvRow } from "@cairn/kv";
import { valuesIn } from "@cairn/engine/src/index/rows/outcome-rows";
import { ROW } from "@cairn/engine/src/index/rows/row-keys";
import { transactionRowKey } from "@cairn/engine/src/index/rows/row-keys";

/**
 * Yields all rows of an index, each outcome in a row of its own: which outcomes share a row depends on how the log was
 * divided into batches.
 */
export async function* separateRows(reader: KvReader): AsyncGenerator<readonly KvRow[], void, undefined> {
  for await (const rows of reader.range({})) {
    yield rows.flatMap(([key, value]): KvRow[] => {
      if (key[0] !== ROW.transaction) return [[key, value]];
      return valuesIn(key, value).map(([txId, own]) => [transactionRowKey(txId), own]);
    });
  }
}
