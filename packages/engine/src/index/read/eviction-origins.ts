import type { KvReader } from "@cairn/kv";
import type { DocumentKey, TxId } from "@cairn/client";
import { splitKey } from "@cairn/client/protocol";
import { qualifiedKey } from "@cairn/text";
import { FIRST_TX_ID } from "../rows/index-state.ts";
import { readOutcomes } from "../rows/outcome-rows.ts";
import { shardOfNamespace } from "../rows/queue-rows.ts";
import { outcomeOperations } from "../rows/row-values.ts";

/** The bounds of the scan for one result. Beyond them, the result is less exact. */
const MAX_TRANSACTIONS = 20_000;
const MAX_BYTES = 8 * 1024 * 1024;

/**
 * Returns, for each eviction in order, a transaction at or after which all content that it removed was written. No
 * versions of evicted keys remain, so the operations of all transactions are scanned, up to a bound. Within it the
 * result is exact, except that an entry of a queue may seem as old as any key of its name; beyond it, the result may be
 * too early. `removed` is the last transaction whose outcome was removed.
 */
export async function earliestWrites(
  reader: KvReader,
  evictions: readonly (DocumentKey & { readonly txId: TxId })[],
  removed: TxId = 0,
): Promise<TxId[]> {
  // A transaction whose outcome was removed may have written any key.
  const before = removed === 0 ? Infinity : FIRST_TX_ID;
  // The first write of each origin since its last eviction; Infinity if there is none.
  const firsts = new Map(evictions.map((eviction) => [originOf(eviction), before]));
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
      for (const [op, bucket, key] of outcomeOperations(outcome)) {
        if (op !== "put" && op !== "evict") continue;
        const { namespace, name } = splitKey(qualifiedKey(key));
        const origin = originOf({ bucket, namespace, name });
        const first = firsts.get(origin);
        if (first === undefined) continue;
        if (op === "evict") exact.set(`${txId} ${origin}`, first);
        // Other keys of this origin may remain after an eviction.
        const isAlone = shardOfNamespace(namespace) === undefined;
        firsts.set(origin, op === "evict" && isAlone ? Infinity : Math.min(first, txId));
      }
    }
  }
  return evictions.map((eviction) => {
    if (eviction.txId <= removed) return FIRST_TX_ID;
    const origin = originOf(eviction);
    const first = exact.get(`${eviction.txId} ${origin}`) ?? firsts.get(origin) ?? FIRST_TX_ID;
    return Math.min(scanned + 1, first);
  });
}

/** Entries of a queue take their content with them to other namespaces, so keys in shards share an origin. */
function originOf({ bucket, namespace, name }: DocumentKey): string {
  return `${bucket} ${shardOfNamespace(namespace) === undefined ? namespace : ""}/${name}`;
}
