import { CairnError } from "@cairn/kv";
import type { TxId } from "@cairn/client";

/** Where a list goes on: behind a document row's key, as of the transaction that the list began at. */
export interface ListCursor {
  readonly txId: TxId;
  readonly after: Uint8Array;
  /** The beginning of the history chain at that transaction, where it was known: another history may have a transaction of that id. */
  readonly history?: string | undefined;
}

/** A cursor as opaque text that fits in a URL. */
export function encodeListCursor({ txId, after, history }: ListCursor): string {
  const parts = [txId, Buffer.from(after).toString("base64url")];
  return encode(history === undefined ? parts : [...parts, history]);
}

/** `REQUEST_INVALID` when it is not one of ours. */
export function decodeListCursor(text: string): ListCursor {
  const [txId, after, history] = decode(text);
  const isKnown = history === undefined || typeof history === "string";
  if (!isId(txId) || typeof after !== "string" || !isKnown) throw invalid();
  return { txId, after: Buffer.from(after, "base64url"), history };
}

/** The pages before were of transactions that the log has lost. */
export function lostHistory(): CairnError {
  return new CairnError("REQUEST_INVALID", "The cursor is of a history that the log has lost.", {
    hint: "Begin the list again without a cursor: what the pages before held may not be there any more.",
  });
}

/** Where a history goes on: with the versions older than `revision`. */
export function encodeRevisionCursor(revision: TxId): string {
  return encode([revision]);
}

/** `REQUEST_INVALID` when it is not one of ours. */
export function decodeRevisionCursor(text: string): TxId {
  const [revision] = decode(text);
  if (!isId(revision)) throw invalid();
  return revision;
}

function encode(parts: readonly unknown[]): string {
  return Buffer.from(JSON.stringify(parts), "utf8").toString("base64url");
}

function decode(text: string): unknown[] {
  try {
    const parts = JSON.parse(Buffer.from(text, "base64url").toString("utf8")) as unknown;
    if (Array.isArray(parts)) return parts;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  throw invalid();
}

function isId(value: unknown): value is TxId {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function invalid(): CairnError {
  return new CairnError("REQUEST_INVALID", "The cursor is not one that a list answered.", {
    hint: "Begin again without a cursor, or follow the Link header as it is.",
  });
}
