import type { KvReader } from "@cairn/kv";
import type { DocumentKey, TxId } from "@cairn/client";
import { qualifiedKey } from "../../text/document-key.ts";
import { FIRST_TX_ID } from "../rows/index-state.ts";
import { rowTxId, transactionRowKey } from "../rows/row-keys.ts";
import { decodeOutcome, type OutcomeOperation, outcomeOperations } from "../rows/row-values.ts";

/** Bounds of what is looked through for one answer; with more, less is known. */
const MOST_TRANSACTIONS = 20_000;
const MOST_BYTES = 8 * 1024 * 1024;

/** What is known of a key while transactions are looked through: its first write since it was last evicted. */
interface Origin {
  first: TxId | undefined;
}

/**
 * For each of `evictions` (keys with the transaction that evicted them), in their order, a transaction before which nothing of what
 * it removed was written. The index keeps no version of what was evicted, so that only the operations of its transactions tell, from
 * the first on: the answer is exact as far as they are looked through, and too early rather than too late behind that.
 */
export async function earliestWrites(
  reader: KvReader,
  evictions: readonly (DocumentKey & { readonly txId: TxId })[],
): Promise<TxId[]> {
  const origins = new Map<string, Origin>();
  for (const eviction of evictions) origins.set(nameOf(eviction), { first: undefined });
  const exact = new Map<string, TxId>();
  const last = evictions.reduce((latest, { txId }) => Math.max(latest, txId), 0);
  let looked = FIRST_TX_ID - 1;
  let bytes = 0;
  const range = { gt: transactionRowKey(looked), lte: transactionRowKey(last), limit: MOST_TRANSACTIONS };
  scan: for await (const rows of reader.range(range)) {
    for (const [key, value] of rows) {
      const txId = rowTxId(key);
      bytes += value.length;
      // Behind a transaction that is not there nothing is certain.
      if (txId !== looked + 1 || bytes > MOST_BYTES) break scan;
      looked = txId;
      follow(origins, exact, txId, outcomeOperations(decodeOutcome(key, value)));
    }
  }
  return evictions.map((eviction) => {
    const name = nameOf(eviction);
    return exact.get(`${eviction.txId} ${name}`) ?? origins.get(name)?.first ?? looked + 1;
  });
}

function follow(
  origins: ReadonlyMap<string, Origin>,
  exact: Map<string, TxId>,
  txId: TxId,
  ops: readonly OutcomeOperation[],
): void {
  for (const [op, bucket, key] of ops) {
    if (op !== "put" && op !== "evict") continue;
    const name = `${bucket} ${qualifiedKey(key)}`;
    const origin = origins.get(name);
    if (origin === undefined) continue;
    if (op === "put") origin.first ??= txId;
    else {
      if (origin.first !== undefined) exact.set(`${txId} ${name}`, origin.first);
      origin.first = undefined;
    }
  }
}

function nameOf({ bucket, namespace, name }: DocumentKey): string {
  return `${bucket} ${namespace}/${name}`;
}
