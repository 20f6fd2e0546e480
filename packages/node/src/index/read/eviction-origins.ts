import type { KvReader } from "@cairn/kv";
import type { DocumentKey, TxId } from "@cairn/client";
import { splitKey } from "@cairn/client/protocol";
import { qualifiedKey } from "../../text/document-key.ts";
import { FIRST_TX_ID } from "../rows/index-state.ts";
import { readOutcomes } from "../rows/outcome-rows.ts";
import { documentKeyRow, evictionRowKey } from "../rows/row-keys.ts";
import { type OutcomeOperation, outcomeOperations } from "../rows/row-values.ts";

/** The bounds of the scan for one result. Beyond them, the result is less exact. */
const MAX_TRANSACTIONS = 20_000;
const MAX_BYTES = 8 * 1024 * 1024;

/** The results for keys during the scan. */
interface Origins {
  /**
   * For each bucket and name of an eviction, the first write of the keys with this name by namespace, since they were
   * last evicted; undefined if there is none. Entries of a queue take their content with them to other namespaces.
   */
  readonly firsts: ReadonlyMap<string, Map<string, TxId | undefined>>;
  /** The first write of keys that have not been written yet. */
  readonly unwritten: TxId | undefined;
  /** The results that are known, by transaction and key. */
  readonly exact: Map<string, TxId>;
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
  const origins: Origins = {
    firsts: new Map(evictions.map((eviction) => [nameOf(eviction), new Map()])),
    // A transaction whose outcome was removed may have written any key.
    unwritten: removed === 0 ? undefined : FIRST_TX_ID,
    exact: new Map(),
  };
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
      await follow(origins, txId, outcomeOperations(outcome), reader);
    }
  }
  return evictions.map((eviction) => {
    if (eviction.txId <= removed) return FIRST_TX_ID;
    const exact = origins.exact.get(keyOf(eviction, eviction.txId));
    if (exact !== undefined) return exact;
    // After the scan, content may have been moved here from any other namespace.
    const firsts = [...(origins.firsts.get(nameOf(eviction))?.values() ?? [])];
    return Math.min(scanned + 1, origins.unwritten ?? Infinity, ...firsts.map((first) => first ?? Infinity));
  });
}

async function follow(
  { firsts, unwritten, exact }: Origins,
  txId: TxId,
  ops: readonly OutcomeOperation[],
  reader: KvReader,
): Promise<void> {
  for (const [op, bucket, key, options] of ops) {
    if (op !== "put" && op !== "evict") continue;
    const { namespace, name } = splitKey(qualifiedKey(key));
    const own = firsts.get(nameOf({ bucket, name }));
    if (own === undefined) continue;
    const firstOf = (one: string): TxId | undefined => (own.has(one) ? own.get(one) : unwritten);
    if (op === "put") {
      const from = options?.from === undefined ? undefined : firstOf(splitKey(options.from).namespace);
      own.set(namespace, Math.min(firstOf(namespace) ?? txId, from ?? txId));
      continue;
    }
    const others = [...own.keys()].filter((one) => one !== namespace);
    for (const one of [namespace, ...(await evictedOf(reader, txId, { bucket, name }, others))]) {
      const first = firstOf(one);
      if (first !== undefined) exact.set(keyOf({ bucket, namespace: one, name }, txId), first);
      own.set(one, undefined);
    }
  }
}

/** Returns those of `namespaces` whose keys of this name were evicted by a transaction. */
async function evictedOf(
  reader: KvReader,
  txId: TxId,
  { bucket, name }: Pick<DocumentKey, "bucket" | "name">,
  namespaces: readonly string[],
): Promise<readonly string[]> {
  if (namespaces.length === 0) return namespaces;
  const rowKeys = namespaces.map((namespace) => documentKeyRow({ bucket, namespace, name }));
  const rows = await reader.getMany(rowKeys.map((rowKey) => evictionRowKey(txId, rowKey)));
  return namespaces.filter((_, at) => rows[at] !== undefined);
}

function nameOf({ bucket, name }: Pick<DocumentKey, "bucket" | "name">): string {
  return `${bucket} ${name}`;
}

function keyOf({ bucket, namespace, name }: DocumentKey, txId: TxId): string {
  return `${txId} ${bucket} ${namespace}/${name}`;
}
