import type { KvReader } from "@cairn/kv";
import type { DocumentKey, TxId } from "@cairn/client";
import { qualifiedKey } from "../../text/document-key.ts";
import { FIRST_TX_ID } from "../rows/index-state.ts";
import { readOutcomes } from "../rows/outcome-rows.ts";
import { type OutcomeOperation, outcomeOperations } from "../rows/row-values.ts";

/** The bounds of the scan for one result. Beyond them, the result is less exact. */
const MAX_TRANSACTIONS = 20_000;
const MAX_BYTES = 8 * 1024 * 1024;

/** The result for a key during the scan: its first write since it was last evicted. */
interface Origin {
  first: TxId | undefined;
}

/**
 * For each of `evictions` (keys with the transaction that evicted them), returns a transaction at or after which all
 * content removed by the eviction was written. The results are in the order of `evictions`. The index keeps no versions
 * of evicted keys, so this function scans the operations of all transactions, starting with the first whose outcome is
 * kept. Within the scanned range, the result is exact. Beyond it, the result may be earlier than necessary.
 * `removed` is the last transaction whose outcome was removed.
 */
export async function earliestWrites(
  reader: KvReader,
  evictions: readonly (DocumentKey & { readonly txId: TxId })[],
  removed: TxId = 0,
): Promise<TxId[]> {
  const origins = new Map<string, Origin>();
  // A transaction whose outcome was removed may have written any key.
  const first = removed === 0 ? undefined : FIRST_TX_ID;
  for (const eviction of evictions) origins.set(nameOf(eviction), { first });
  const exact = new Map<string, TxId>();
  const last = evictions.reduce((latest, { txId }) => Math.max(latest, txId), 0);
  let scanned = Math.max(removed, FIRST_TX_ID - 1);
  let bytes = 0;
  const range = { after: scanned, upTo: last, limit: MAX_TRANSACTIONS };
  scan: for await (const outcomes of readOutcomes(reader, range)) {
    for (const { txId, outcome, bytes: size } of outcomes) {
      bytes += size;
      // After a missing transaction, the scan would no longer be reliable.
      if (txId !== scanned + 1 || bytes > MAX_BYTES) break scan;
      scanned = txId;
      follow(origins, exact, txId, outcomeOperations(outcome));
    }
  }
  return evictions.map((eviction) => {
    if (eviction.txId <= removed) return FIRST_TX_ID;
    const name = nameOf(eviction);
    return exact.get(`${eviction.txId} ${name}`) ?? origins.get(name)?.first ?? scanned + 1;
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
