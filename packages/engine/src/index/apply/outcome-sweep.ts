import type { KvReader } from "@cairn/kv";
import type { TxId } from "@cairn/client";
import type { Bound } from "../policies/active-policies.ts";
import { isLastInRow, OUTCOMES_IN_ROW, valuesIn } from "../rows/outcome-rows.ts";
import { firstRow } from "../rows/row-cursor.ts";
import { unsealed } from "../rows/row-checksum.ts";
import { expiredRowKey, NO_STEM, ROW, rowsOfKind, rowTxId, transactionRowKey } from "../rows/row-keys.ts";
import { decodeOutcome } from "../rows/row-values.ts";

/**
 * Outcomes are removed from the oldest on, in groups of those that can share a row, because whether they do differs
 * between nodes. This is the maximum number of outcomes that a sweep removes. It is part of the index version. There is
 * one sweep for every 256 transactions, so a new bound takes effect within about a seventh as many transactions as
 * there are outcomes to remove.
 */
const MAX_OUTCOMES = 2_048;
/** A sweep that has found more expired documents ends after the current group. Part of the index version. */
const MAX_EXPIRED = 16_384;

export interface SweptOutcomes {
  /** The row keys of the outcomes, and of the documents that expired with their transactions. */
  readonly rowKeys: readonly Uint8Array[];
  /** The last transaction whose outcome is removed. */
  readonly upTo: TxId;
}

/** `after` is the last transaction whose outcome was removed, and ids are remembered for `remembered` transactions. */
export async function sweepOutcomes(
  reader: KvReader,
  { keep, age }: Bound,
  after: TxId,
  now: { readonly txId: TxId; readonly time: number },
  remembered: number,
): Promise<SweptOutcomes> {
  const kept = now.txId - keep;
  // Each of the transactions whose ids are remembered may repeat one that is as much older.
  const allowed = lastOfGroup(age === Infinity ? kept : now.txId - 2 * remembered);
  if (allowed <= after) return { rowKeys: [], upTo: after };
  const from = after === 0 ? await beforeFirst(reader) : after;
  const range = {
    gt: transactionRowKey(from),
    lte: transactionRowKey(Math.min(from + MAX_OUTCOMES, allowed)),
  };
  const found: Uint8Array[] = [];
  let upTo = after;
  let group: Uint8Array[] = [];
  scan: for await (const rows of reader.range(range)) {
    for (const [key, row] of rows) {
      const txId = rowTxId(key);
      group.push(key);
      const values = valuesIn(key, row);
      if (!isLastInRow(txId)) continue;
      const [, last] = values.at(-1) ?? [txId, row];
      const { time } = decodeOutcome(key, last);
      if (txId > kept && time + age > now.time) break scan;
      found.push(...group);
      group = [];
      upTo = txId;
    }
  }
  const expired = await expiredWith(reader, after, upTo);
  const outcomes = found.filter((key) => rowTxId(key) <= expired.upTo);
  return { rowKeys: [...outcomes, ...expired.rowKeys], upTo: expired.upTo };
}

async function beforeFirst(reader: KvReader): Promise<TxId> {
  const [key] = (await firstRow(reader, rowsOfKind(ROW.transaction))) ?? [];
  return key === undefined ? 0 : lastOfGroup(rowTxId(key) - 1);
}

/**
 * Returns the row keys of the documents that expired with the transactions after `after`, up to and including `upTo` or
 * the end of an earlier group, if there are many.
 */
async function expiredWith(reader: KvReader, after: TxId, upTo: TxId): Promise<SweptOutcomes> {
  const rowKeys: Uint8Array[] = [];
  let end = upTo;
  const range = { gte: expiredRowKey(after + 1, NO_STEM), lt: expiredRowKey(upTo + 1, NO_STEM) };
  for await (const rows of reader.range(range)) {
    for (const [key, value] of rows) {
      const txId = rowTxId(key);
      if (txId > end) return { rowKeys, upTo: end };
      unsealed(key, value);
      rowKeys.push(key);
      if (rowKeys.length === MAX_EXPIRED + 1) end = lastOfGroup(txId + OUTCOMES_IN_ROW - 1);
    }
  }
  return { rowKeys, upTo: end };
}

function lastOfGroup(txId: TxId): TxId {
  return Math.floor(txId / OUTCOMES_IN_ROW) * OUTCOMES_IN_ROW;
}
