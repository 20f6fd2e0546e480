import type { KvReader } from "@cairn/kv";
import type { TxId } from "@cairn/client";
import { OUTCOMES_IN_ROW, readOutcomes, valuesIn } from "../rows/outcome-rows.ts";
import { transactionRowKey } from "../rows/row-keys.ts";
import { decodeOutcome } from "../rows/row-values.ts";

/** The number of rows that a round reads at once, unless at most twice as many are left. */
const ROWS_PER_ROUND = 16;

/**
 * Returns the last of these transactions that is not later than `time` (ms since 1970); undefined if all are later.
 * Times never decrease, and only the earliest transactions, before the first one of a continued log, have no outcomes.
 *
 * A checkpoint that is read where it lies answers a round of reads in the time of one. Four rounds find one of 5,000,000
 * transactions, or five if each outcome has a row of its own.
 */
export async function transactionAtTime(
  reader: KvReader,
  time: number,
  { first, last }: { readonly first: TxId; readonly last: TxId },
): Promise<TxId | undefined> {
  // None up to `low` is later than `time`, and all after `high` are.
  let low = first - 1;
  let high = last;
  for (let ids = dividing(low, high); ids.length > 0; ids = dividing(low, high)) {
    const rows = await reader.getMany(ids.map((txId) => transactionRowKey(txId)));
    for (const [at, txId] of ids.entries()) {
      const later = laterIn(txId, rows[at], time);
      if (later !== undefined) {
        high = later.txId - 1;
        if (!later.isFirst) low = high;
        break;
      }
      low = txId;
    }
  }
  if (low < high) {
    for await (const outcomes of readOutcomes(reader, { after: low, upTo: high, limit: high - low })) {
      const later = outcomes.find(({ outcome }) => outcome.time > time);
      if (later === undefined) continue;
      high = later.txId - 1;
      break;
    }
  }
  return high < first ? undefined : high;
}

/**
 * Returns transactions that divide those after `low`, up to and including `high`. Each is the last that can share a row
 * with others, so there is a row with its id, whether or not it does.
 */
function dividing(low: TxId, high: TxId): TxId[] {
  const before = Math.floor(low / OUTCOMES_IN_ROW);
  const rows = Math.floor(high / OUTCOMES_IN_ROW) - before;
  const count = rows > 2 * ROWS_PER_ROUND ? ROWS_PER_ROUND : Math.max(rows, 0);
  const share = (rows + 1) / (count + 1);
  return Array.from({ length: count }, (_, at) => (before + Math.floor(share * (at + 1))) * OUTCOMES_IN_ROW);
}

/** Returns the first transaction in a row that is later than `time`. `txId` is the last one in the row. */
function laterIn(
  txId: TxId,
  row: Uint8Array | undefined,
  time: number,
): { readonly txId: TxId; readonly isFirst: boolean } | undefined {
  if (row === undefined) return undefined;
  const values = valuesIn(transactionRowKey(txId), row);
  const isLater = ([id, value]: (typeof values)[number]): boolean =>
    decodeOutcome(transactionRowKey(id), value).time > time;
  // The other outcomes need not be decoded if the last one is not later.
  if (!values.slice(-1).some(isLater)) return undefined;
  const at = values.findIndex(isLater);
  return { txId: txId - (values.length - 1 - at), isFirst: at === 0 };
}
