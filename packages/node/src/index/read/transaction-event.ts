import type { DocumentKey, Revision, TxId } from "@cairn/client";

/** What a transaction did to one key. `revision` is the transaction's id. Only a put has `json`, the document's text. */
export interface WatchChange extends DocumentKey {
  readonly op: "put" | "delete" | "evict";
  readonly revision: Revision;
  readonly json?: string;
}

const CHANGE_OVERHEAD = 128;

/** About how much memory a change takes: one formula for whoever adds to what is bounded, and takes away again. */
export function changeBytes({ json = "", namespace, name }: WatchChange): number {
  return json.length + namespace.length + name.length + CHANGE_OVERHEAD;
}

/** The same of several. */
export function changesBytes(changes: readonly WatchChange[]): number {
  let bytes = 0;
  for (const change of changes) bytes += changeBytes(change);
  return bytes;
}

/** A transaction that changed something that is watched: all of it that is, in the order of its operations. */
export interface TransactionEvent {
  readonly type: "tx";
  readonly txId: TxId;
  readonly txTime: string;
  readonly changes: readonly WatchChange[];
}
