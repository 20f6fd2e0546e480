import type { KvOperation } from "@cairn/kv";
import type { TxId } from "@cairn/client";
import type { KeyState, KeyStates } from "./key-states.ts";
import { headsOf } from "../rows/index-rows.ts";
import { asKind, documentRowPrefix, parseDocumentRowKey, prefixEnd, ROW } from "../rows/row-keys.ts";
import { checkedHead, headLength, versionValueRevision } from "../rows/version-values.ts";

/** The maximum number of rows that a transaction removes from a retiring shard. It is part of the index version. */
const REMOVED_PER_TRANSACTION = 256;
/** A transaction removes no further row once those it removes have this many bytes. Part of the index version. */
const REMOVED_BYTES = 8 * 1024 * 1024;

/**
 * The removal of a retired shard's rows: documents, deletions, then superseded versions, in slices, so that no
 * transaction costs more because of the size of a shard. While a shard is retiring, each transaction is a batch of its
 * own, and the rows are those before the transaction.
 */
export class Retirement {
  /** The newest revision of the removed versions; 0 if none was removed. */
  removed: TxId = 0;
  readonly #bucket: string;
  readonly #namespace: string;
  readonly #keys: KeyStates;
  readonly #versions: Uint8Array[] = [];

  constructor({ queue, shard }: { readonly queue: string; readonly shard: number }, keys: KeyStates) {
    this.#bucket = queue;
    this.#namespace = String(shard);
    this.#keys = keys;
  }

  /** Removes the next rows. Returns the names of the removed entries, and whether there were no rows left. */
  async step(txId: TxId): Promise<{ readonly entries: readonly string[]; readonly isDone: boolean }> {
    const prefix = documentRowPrefix(this.#bucket, this.#namespace);
    const found: KeyState[] = [];
    let left = REMOVED_PER_TRANSACTION;
    let bytes = 0;
    for (const kind of [ROW.document, ROW.tombstone, ROW.version] as const) {
      if (left === 0 || bytes >= REMOVED_BYTES) break;
      const gte = asKind(prefix, kind);
      for await (const rows of headsOf(this.#keys.reader).range({ gte, lt: prefixEnd(gte), limit: left })) {
        for (const [key, value] of rows) {
          if (bytes >= REMOVED_BYTES) break;
          left -= 1;
          bytes += headLength(value);
          this.removed = Math.max(this.removed, versionValueRevision(checkedHead(key, value)));
          if (kind === ROW.version) this.#versions.push(key);
          else {
            const { namespace, name } = parseDocumentRowKey(key);
            found.push(this.#keys.collectKey(this.#bucket, `${namespace}/${name}`));
          }
        }
        if (bytes >= REMOVED_BYTES) break;
      }
    }
    if (left === REMOVED_PER_TRANSACTION) return { entries: [], isDone: true };
    // The bucket's counters are read even if the slice contains only superseded versions, which are not keys to read.
    const bucket = this.#keys.collectBucket(this.#bucket);
    await this.#keys.load();
    const entries: string[] = [];
    for (const key of found) {
      // The transaction itself may have evicted the entry.
      if (key.document !== undefined) entries.push(parseDocumentRowKey(key.rowKey).name);
      this.#keys.drop(key);
    }
    this.#keys.removedAt(bucket, txId);
    return { entries, isDone: false };
  }

  *rows(): Generator<KvOperation> {
    for (const key of this.#versions) yield { type: "del", key };
  }
}
