import { CairnError } from "@cairn/kv";
import type { ChainValue, TxId } from "@cairn/client";

/** The number of digits of the history chain in a cursor. It suffices to distinguish two histories. */
const HISTORY_DIGITS = 12;

/**
 * The point at which a list continues. It continues after a document row's key, as of the transaction at which the list
 * began.
 */
export interface ListCursor {
  readonly txId: TxId;
  readonly after: Uint8Array;
  /**
   * The history chain at that transaction, or its first digits, if known. Another history may contain a transaction
   * with the same id.
   */
  readonly history?: string | undefined;
}

/** Encodes a cursor as an opaque string that fits in a URL. */
export function encodeListCursor({ txId, after, history }: ListCursor): string {
  const parts = [txId, Buffer.from(after).toString("base64url")];
  return encode(history === undefined ? parts : [...parts, history.slice(0, HISTORY_DIGITS)]);
}

/** Decodes a list's cursor. Throws `REQUEST_INVALID`. */
export function decodeListCursor(text: string): ListCursor {
  const [txId, after, history] = decode(text);
  const isKnown = history === undefined || typeof history === "string";
  if (!isId(txId) || typeof after !== "string" || !isKnown) throw invalid();
  return { txId, after: Buffer.from(after, "base64url"), history };
}

/**
 * Throws `REQUEST_INVALID` if the log has lost the transaction at which a list began. `chains` is the index's chain
 * value at the transaction with the same id; if it is unknown, the cursor is accepted.
 */
export function requireExistingHistory({ history }: ListCursor, chains: ChainValue | undefined): void {
  if (history === undefined || chains === undefined || chains.history.startsWith(history)) return;
  throw new CairnError("REQUEST_INVALID", "The cursor belongs to a history that the log has lost.", {
    hint: "Start the list again without a cursor, because the contents of earlier pages may no longer exist.",
  });
}

/** Encodes the point at which a history continues: with the versions older than `revision`. */
export function encodeRevisionCursor(revision: TxId): string {
  return encode([revision]);
}

/** Decodes a history's cursor. Throws `REQUEST_INVALID`. */
export function decodeRevisionCursor(text: string): TxId {
  const [revision] = decode(text);
  if (!isId(revision)) throw invalid();
  return revision;
}

/** Encodes the point at which a list of open entries continues: after the entry with this origin. */
export function encodeOriginCursor({ txId, at }: { readonly txId: TxId; readonly at: number }): string {
  return encode([txId, at]);
}

/** Decodes the cursor of a list of open entries. Throws `REQUEST_INVALID`. */
export function decodeOriginCursor(text: string): { readonly txId: TxId; readonly at: number } {
  const [txId, at] = decode(text);
  if (!isId(txId) || !isId(at) || at >= 2 ** 32) throw invalid();
  return { txId, at };
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
  return new CairnError("REQUEST_INVALID", "The cursor was not returned by a list.", {
    hint: "Start again without a cursor, or follow the Link header unchanged.",
  });
}
