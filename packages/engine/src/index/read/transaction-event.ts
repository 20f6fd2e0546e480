import type { DocumentKey, Position, Revision, TxId } from "@cairn/client";

/** `revision` is the transaction's id. Only a put has the document's JSON, in `json`. */
export interface WatchChange extends DocumentKey {
  readonly op: "put" | "delete" | "evict";
  readonly revision: Revision;
  readonly json?: string;
}

const CHANGE_OVERHEAD = 128;

/** Returns the approximate memory used by a change, for bounds on buffered changes. */
export function changeBytes({ json = "", namespace, name }: WatchChange): number {
  return json.length + namespace.length + name.length + CHANGE_OVERHEAD;
}

export function changesBytes(changes: readonly WatchChange[]): number {
  let bytes = 0;
  for (const change of changes) bytes += changeBytes(change);
  return bytes;
}

/** The memory of a change without its texts, as objects and as the JSON around the document. */
const CHANGE_MEMORY = 512;

/** Returns the approximate memory of events, and of the same events encoded as UTF-8 for connections. */
export function eventsMemory(
  events: readonly {
    readonly changes: readonly Partial<Pick<WatchChange, "namespace" | "name" | "json">>[];
  }[],
): number {
  let bytes = 0;
  for (const { changes } of events)
    for (const { json = "", namespace = "", name = "" } of changes) {
      const encoded = Buffer.byteLength(json);
      // Texts that are not all ASCII usually have two bytes for each character.
      const text = encoded === json.length ? encoded : json.length * 2;
      bytes += CHANGE_MEMORY + 4 * (namespace.length + name.length) + text + encoded;
    }
  return bytes;
}

/** A transaction with all of its watched changes, in the order of its operations. */
export interface TransactionEvent {
  readonly type: "tx";
  readonly txId: TxId;
  readonly txTime: string;
  readonly position: Position;
  readonly changes: readonly WatchChange[];
}
