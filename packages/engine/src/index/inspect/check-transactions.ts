import { type CairnError, type KvReader } from "@cairn/kv";
import type { IndexState } from "../rows/index-state.ts";
import { readOutcomes } from "../rows/outcome-rows.ts";
import { unusableIndex } from "../rows/row-checksum.ts";

/**
 * Throws `INDEX_CORRUPT` with the first transaction of the index whose outcome is missing or damaged, unless a policy
 * removed it. This detects the loss of part of a batch, which checksums cannot.
 */
export async function checkTransactions(
  reader: KvReader,
  { txId, log, outcomesAfter }: IndexState,
): Promise<void> {
  let next = outcomesAfter === undefined ? undefined : outcomesAfter + 1;
  for await (const outcomes of readOutcomes(reader, { after: outcomesAfter ?? 0, upTo: txId })) {
    for (const { txId: found } of outcomes) {
      // A log that does not continue another one may begin with a transaction id other than 1.
      const isNext = next === undefined ? found === 1 || found === log.offset + 1 : found === next;
      if (!isNext) throw missing(next ?? 1);
      next = found + 1;
    }
  }
  if ((next ?? log.offset + 1) !== txId + 1) throw missing(next ?? log.offset + 1);
}

function missing(txId: number): CairnError {
  return unusableIndex(`the outcome of transaction ${txId} is missing`);
}
