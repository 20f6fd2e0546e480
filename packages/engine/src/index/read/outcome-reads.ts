import { CairnError, isCairnError, type KvReader } from "@cairn/kv";
import type { TxId, TxOutcome } from "@cairn/client";
import { isoTime, formatPosition } from "@cairn/text";
import { firstKept, readState } from "../rows/index-state.ts";
import { readOutcome } from "../rows/outcome-rows.ts";
import { damagedRow } from "../rows/row-checksum.ts";
import { transactionRowKey } from "../rows/row-keys.ts";

/** Undefined if the index lacks it. Throws `OUTCOME_REMOVED` if a policy removed it, or the one that it repeats. */
export async function readTxOutcome(reader: KvReader, txId: TxId): Promise<TxOutcome | undefined> {
  const found = await readOutcome(reader, txId);
  if (found === undefined) {
    const kept = firstKept((await readState(reader)) ?? {});
    if (txId < 1 || txId >= kept) return undefined;
    throw new CairnError(
      "OUTCOME_REMOVED",
      `The outcome of transaction ${txId} was removed: outcomes are kept from transaction ${kept} onwards.`,
      `To find out whether it took effect, read the history of a document that it wrote, which names the transaction that wrote each version. ${BOUND}`,
    );
  }
  const { time, mark, kind, text, shards } = found;
  const place = { txId, txTime: isoTime(time), position: formatPosition({ txId, mark }) };
  const head = shards === undefined ? place : { ...place, shards };
  if (kind === "committed") return { ...head, committed: true };
  if (kind === "aborted") return { ...head, committed: false, reason: text };
  const first = Number(text);
  const repeated = await readRepeated(reader, txId, first);
  if (repeated === undefined) throw damagedRow(transactionRowKey(txId));
  return { ...repeated, ...place, duplicateOf: first };
}

async function readRepeated(reader: KvReader, txId: TxId, first: TxId): Promise<TxOutcome | undefined> {
  try {
    return await readTxOutcome(reader, first);
  } catch (error) {
    if (!isCairnError(error, "OUTCOME_REMOVED")) throw error;
    const message = `Transaction ${txId} repeats transaction ${first}. ${error.message}`;
    throw new CairnError(error.code, message, { hint: error.hint ?? "", cause: error });
  }
}

const BOUND = 'The policy "outcomes" determines how many outcomes are kept.';

/** Returns `OUTCOME_REMOVED` for a time before `first`, the time of the first transaction whose outcome is kept. */
export function timeRemoved(time: string, first: string): CairnError {
  return new CairnError(
    "OUTCOME_REMOVED",
    `Which transactions were before ${time} is no longer known: the times of transactions before ${first} were removed with their outcomes.`,
    `Use ${first} or a later time, or a transaction id. ${BOUND}`,
  );
}
