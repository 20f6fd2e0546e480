import type { TxId } from "@cairn/client";
import type { AppliedChanges } from "../apply/apply-transactions.ts";
import type { WrittenVersion } from "../apply/key-states.ts";
import { firstKept, type IndexState } from "../rows/index-state.ts";
import { parseDocumentRowKey } from "../rows/row-keys.ts";
import { decodeVersion } from "../rows/version-values.ts";
import { type ChangesPage, type ChangesQuery, readTransaction } from "./transaction-changes.ts";
import { changesBytes, type TransactionEvent, type WatchChange } from "./transaction-event.ts";

/** The approximate memory of what is kept. A reader that is further behind than that reads the index. */
export const RECENT_CHANGES_BYTES = 4 * 1024 * 1024;
/** The approximate memory of a transaction, and of a version without its value, as objects. */
const TRANSACTION_BYTES = 256;
const VERSION_BYTES = 256;

/**
 * What the newest transactions changed, as it was applied, for readers at the end of the index. It spares them reading
 * it back, and is exactly what {@link readChanges} would return. It belongs to one open index, so that nothing outlives
 * its history, and keeps nothing while it has no reader.
 */
export class RecentChanges {
  /** Successive transactions, with the memory of each. */
  #kept: { readonly changes: AppliedChanges; readonly bytes: number }[] = [];
  #bytes = 0;
  #readers = 0;

  get isRead(): boolean {
    return this.#readers > 0;
  }

  /** Begins to keep changes. The reader calls the returned function once, when it reads no more. */
  open(): () => void {
    this.#readers += 1;
    return () => {
      this.#readers -= 1;
      if (!this.isRead) this.#forget();
    };
  }

  /**
   * Adds what the next batch changed, once readers of the index see it. If it is undefined, because the batch evicts or
   * its changes were not collected, everything is dropped: what was evicted must not be delivered any more.
   */
  add(batch: readonly AppliedChanges[] | undefined): void {
    const [first] = batch ?? [];
    if (first?.txId !== this.#last + 1) this.#forget();
    if (batch === undefined || !this.isRead) return;
    for (const changes of batch) {
      const bytes = memoryOf(changes);
      this.#kept.push({ changes, bytes });
      this.#bytes += bytes;
    }
    let dropped = 0;
    for (; this.#bytes > RECENT_CHANGES_BYTES; dropped += 1) this.#bytes -= this.#kept[dropped]?.bytes ?? 0;
    if (dropped > 0) this.#kept.splice(0, dropped);
  }

  /**
   * Returns the page that {@link readChanges} would read from an index in this state; undefined if the changes after
   * `after` are not all kept, or the index has removed some that follow.
   */
  read(
    { after, maxTransactions, maxBytes }: Pick<ChangesQuery, "after" | "maxTransactions" | "maxBytes">,
    state: IndexState,
  ): ChangesPage | undefined {
    const [first] = this.#kept;
    if (first === undefined || after < first.changes.txId - 1 || after >= this.#last) return undefined;
    if (after < Math.max(state.pruned ?? 0, firstKept(state))) return undefined;
    const from = after + 1 - first.changes.txId;
    const transactions: TransactionEvent[] = [];
    let end: ChangesPage["end"];
    let bytes = 0;
    for (const { changes: applied } of this.#kept.slice(from, from + maxTransactions)) {
      end = readTransaction(applied.txId, applied);
      const changes = applied.versions.map((version) => changeOf(version, applied.txId));
      if (changes.length > 0) transactions.push({ type: "tx", ...end, changes });
      bytes += changesBytes(changes);
      if (bytes >= maxBytes) break;
    }
    return { transactions, end, bytes };
  }

  #forget(): void {
    this.#kept = [];
    this.#bytes = 0;
  }

  get #last(): TxId {
    return this.#kept.at(-1)?.changes.txId ?? 0;
  }
}

function changeOf({ rowKey, version }: WrittenVersion, revision: TxId): WatchChange {
  const { bucket, namespace, name } = parseDocumentRowKey(rowKey);
  const { json } = decodeVersion(version);
  const op = json === undefined ? "delete" : "put";
  const place = { op, bucket, namespace, name, revision } as const;
  return json === undefined ? place : { ...place, json };
}

function memoryOf({ versions }: AppliedChanges): number {
  let bytes = TRANSACTION_BYTES;
  for (const { rowKey, version } of versions) bytes += VERSION_BYTES + rowKey.length + version.length;
  return bytes;
}
