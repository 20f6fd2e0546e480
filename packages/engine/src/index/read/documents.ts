import type { DocumentKey, Position, Revision, TxId } from "@cairn/client";

/** A stored document. `json` is exactly the string that JSON.stringify wrote. */
export interface StoredDocument extends DocumentKey {
  readonly revision: Revision;
  readonly json: string;
}

/** One version of a key. A deletion has no `json`. */
export interface DocumentVersion {
  readonly revision: Revision;
  readonly txTime: string;
  readonly deleted: boolean;
  readonly json?: string;
}

/** A point in time: a transaction, or the last transaction whose time is not after an ISO 8601 instant. */
export type AsOf = { readonly txId: TxId } | { readonly time: string };

/** A page of documents in key order, all as of `txId`. A watch from `position` continues it. */
export interface DocumentPage {
  readonly txId: TxId;
  readonly position: Position;
  readonly documents: readonly StoredDocument[];
  /** The cursor of the next page; present if there may be more documents. */
  readonly cursor?: string;
}

/** A page of a key's versions, newest first. */
export interface HistoryPage {
  readonly versions: readonly DocumentVersion[];
  readonly cursor?: string;
}
