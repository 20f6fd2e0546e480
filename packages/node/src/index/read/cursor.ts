import { createHash } from "node:crypto";
import { CairnError, type KvReader } from "@cairn/kv";
import type { ChainValue, DocumentKey, TxId } from "@cairn/client";
import { readOutcomes } from "../rows/outcome-rows.ts";
import type { AsOf } from "./documents.ts";
import type { FieldQuery } from "./field-query.ts";

/** The number of characters of a digest in a cursor. They suffice to distinguish two lists, or two histories. */
const DIGEST_CHARACTERS = 12;

/** The parameters that determine what a list contains. */
export interface ListParameters {
  readonly bucket: string;
  readonly namespace?: string | undefined;
  readonly prefix?: string | undefined;
  readonly where?: FieldQuery | readonly FieldQuery[] | undefined;
  readonly asOf?: AsOf | undefined;
}

/** Where a history was when a list began. */
export interface HistoryMark {
  /** The first digits of the history chain, if they are known, as only those at the newest transactions are. */
  readonly chain: string | null;
  /** A digest of the newest outcome up to then. */
  readonly outcome: string;
}

/**
 * The point at which a list continues. It continues after a document row's key, as of the transaction at which the list
 * began. Another history may contain a transaction with the same id.
 */
export interface ListCursor {
  readonly txId: TxId;
  readonly after: Uint8Array;
  readonly mark: HistoryMark;
}

/** Returns where the history of an index was at a transaction. `chains` are the chains' values there, if known. */
export async function historyMark(
  reader: KvReader,
  txId: TxId,
  chains: ChainValue | undefined,
): Promise<HistoryMark> {
  return { chain: chainMark(chains), outcome: await outcomeMark(reader, txId) };
}

function chainMark(chains: ChainValue | undefined): string | null {
  return chains?.history.slice(0, DIGEST_CHARACTERS) ?? null;
}

/** The outcome contains the time, which no transaction that is stored in its place later has. */
async function outcomeMark(reader: KvReader, txId: TxId): Promise<string> {
  let newest: unknown = null;
  for await (const outcomes of readOutcomes(reader, { after: 0, upTo: txId, reverse: true, limit: 1 })) {
    newest ??= outcomes[0] ?? null;
  }
  return digest(newest);
}

/** Throws `REQUEST_INVALID` if the history where the list began changed. `chains` are the values there, if known. */
export async function requireExistingHistory(
  reader: KvReader,
  { txId, mark }: ListCursor,
  chains: ChainValue | undefined,
): Promise<void> {
  const now = chainMark(chains);
  const isSame =
    mark.chain !== null && now !== null
      ? mark.chain === now
      : mark.outcome === (await outcomeMark(reader, txId));
  if (isSame) return;
  throw new CairnError(
    "REQUEST_INVALID",
    "The cursor belongs to a history that the log has lost, or whose outcomes a policy has removed.",
    {
      hint: "Start the list again without a cursor, because the contents of earlier pages may no longer exist.",
    },
  );
}

/** Encodes a cursor as an opaque string that fits in a URL. */
export function encodeListCursor(list: ListParameters, { txId, after, mark }: ListCursor): string {
  const { chain, outcome } = mark;
  return encode(listOf(list), [txId, Buffer.from(after).toString("base64url"), chain, outcome]);
}

/** Decodes a list's cursor. Throws `REQUEST_INVALID`, also for the cursor of another list. */
export function decodeListCursor(list: ListParameters, text: string): ListCursor {
  const [txId, after, chain, outcome] = decode(listOf(list), text);
  const isMark = (chain === null || typeof chain === "string") && typeof outcome === "string";
  if (!isId(txId) || typeof after !== "string" || !isMark) throw invalid();
  return { txId, after: Buffer.from(after, "base64url"), mark: { chain, outcome } };
}

function listOf({ bucket, namespace, prefix, where, asOf }: ListParameters): unknown {
  return ["list", bucket, namespace ?? null, prefix ?? "", [where ?? []].flat(), asOf ?? null];
}

/** Encodes the point at which the history of a document continues: with the versions older than `revision`. */
export function encodeRevisionCursor(key: DocumentKey, revision: TxId): string {
  return encode(historyOf(key), [revision]);
}

/** Decodes a history's cursor. Throws `REQUEST_INVALID`, also for the cursor of another list. */
export function decodeRevisionCursor(key: DocumentKey, text: string): TxId {
  const [revision] = decode(historyOf(key), text);
  if (!isId(revision)) throw invalid();
  return revision;
}

function historyOf({ bucket, namespace, name }: DocumentKey): unknown {
  return ["history", bucket, namespace, name];
}

interface OpenEntriesOf {
  readonly queue: string;
  readonly shard: number;
}

/** Encodes the point at which a list of open entries continues: after the entry with this origin. */
export function encodeOriginCursor(
  { queue, shard }: OpenEntriesOf,
  { txId, at }: { readonly txId: TxId; readonly at: number },
): string {
  return encode(["open", queue, shard], [txId, at]);
}

/** Decodes the cursor of a list of open entries. Throws `REQUEST_INVALID`, also for the cursor of another list. */
export function decodeOriginCursor(
  { queue, shard }: OpenEntriesOf,
  text: string,
): { readonly txId: TxId; readonly at: number } {
  const [txId, at] = decode(["open", queue, shard], text);
  if (!isId(txId) || !isId(at) || at >= 2 ** 32) throw invalid();
  return { txId, at };
}

/** Encodes the point at which a list of evictions continues: with the rows before this key. */
export function encodeEvictionCursor(before: Uint8Array): string {
  return encode(["evictions"], [Buffer.from(before).toString("base64url")]);
}

/** Decodes the cursor of a list of evictions. Throws `REQUEST_INVALID`, also for the cursor of another list. */
export function decodeEvictionCursor(text: string): Uint8Array {
  const [before] = decode(["evictions"], text);
  if (typeof before !== "string") throw invalid();
  return Buffer.from(before, "base64url");
}

/** Encodes a point in a list. The cursor names the list, so that it cannot continue another one. */
function encode(list: unknown, parts: readonly unknown[]): string {
  return Buffer.from(JSON.stringify([digest(list), ...parts]), "utf8").toString("base64url");
}

function decode(list: unknown, text: string): unknown[] {
  const parts = parse(text);
  if (!Array.isArray(parts)) throw invalid();
  const [of, ...rest] = parts as unknown[];
  if (of !== digest(list)) throw foreignCursor();
  return rest;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(Buffer.from(text, "base64url").toString("utf8")) as unknown;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

function digest(value: unknown): string {
  const text = JSON.stringify(value);
  return createHash("sha256").update(text).digest("base64url").slice(0, DIGEST_CHARACTERS);
}

function isId(value: unknown): value is TxId {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function invalid(): CairnError {
  return new CairnError("REQUEST_INVALID", "The cursor was not returned by a list.", {
    hint: "Start again without a cursor, or follow the Link header unchanged.",
  });
}

export function foreignCursor(): CairnError {
  return new CairnError("REQUEST_INVALID", "The cursor belongs to a different list.", {
    hint: "Follow the Link header unchanged, because a cursor is valid only with the parameters for which it was returned (all except limit and those that say how to wait).",
  });
}
