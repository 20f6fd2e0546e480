import { createHash } from "node:crypto";
import { crc32 } from "node:zlib";
import { CairnError } from "@cairn/kv";
import type { Revision, Transaction } from "@cairn/client";
import { type BirthRecord, isBirthRecord } from "./birth-record.ts";
import { qualifiedKey } from "../text/document-key.ts";
import { loggedContentProblem, loggedOperationProblem, validateTransaction } from "./validate-transaction.ts";

/*
 * A message is lines of UTF-8, so that a person can read a log with the log's own tools:
 *
 *   cairn/1 <CRC-32 of all that follows the line break, 8 hex digits>
 *   {"ops":[["put","pods","default/web-0"],["delete","pods","default/web-1"]],"id":"…"}
 *   {"image":"nginx"}            one line a put, event or configure, in their order: the document, event or policies
 *
 * Documents stand apart from the operations so that an index can store their bytes as they are, without parsing them;
 * the CRC is what makes that safe: a message that somebody else wrote into the log, or that was damaged, is not applied.
 */
const PREFIX = "cairn/1 ";
const CRC_DIGITS = 8;
const HEAD = PREFIX.length + CRC_DIGITS + 1;
const NEWLINE = 0x0a;

/** An operation as it comes from the log. `key` is `namespace/name`, the namespace always given. */
export interface LoggedOperation {
  readonly op: "put" | "delete" | "match" | "evict" | "event" | "configure";
  /** Empty, like `key`, for an event and for policies, which have no key. */
  readonly bucket: string;
  readonly key: string;
  /** Of a put, an event, or policies: its JSON in UTF-8. */
  readonly document: Uint8Array | undefined;
  /** Of a match or of policies, null: absent. Undefined: policies are set whatever is there. */
  readonly revision: Revision | null | undefined;
}

/** A transaction as it comes from the log. `header` is its line of operations, without documents. */
export interface LoggedTransaction {
  readonly kind: "transaction";
  readonly ops: readonly LoggedOperation[];
  readonly id: string | undefined;
  readonly header: Uint8Array;
  /** Whether it has events or sets policies. */
  readonly hasContent: boolean;
}

/** What a message of the log is. `unreadable`: not written by Cairn, or damaged; it keeps its tx-id and changes nothing. */
export type DecodedMessage =
  | LoggedTransaction
  | { readonly kind: "birth"; readonly birth: BirthRecord }
  | { readonly kind: "unreadable"; readonly reason: string };

/** A transaction as the bytes of a message. `TX_INVALID` when it is not a valid one. */
export function encodeTransaction(transaction: Transaction): Uint8Array {
  validateTransaction(transaction);
  const documents: string[] = [];
  const ops = transaction.ops.map((op) => {
    if (op[0] === "put") {
      documents.push(stringify(op[3]));
      return op.slice(0, 3);
    }
    if (op[0] !== "event" && op[0] !== "configure") return op;
    documents.push(stringify(op[1]));
    return [op[0], ...op.slice(2)];
  });
  const header = JSON.stringify({ ops, ...(transaction.id === undefined ? {} : { id: transaction.id }) });
  return frame([header, ...documents].join("\n"));
}

/** The first message of a log. */
export function encodeBirthRecord(birth: BirthRecord): Uint8Array {
  return frame(JSON.stringify({ birth }));
}

/** What a message says; never throws, so that every node takes the same message for the same thing. */
export function decodeMessage(payload: Uint8Array): DecodedMessage {
  const bytes = Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength);
  if (!hasHead(bytes)) return { kind: "unreadable", reason: "not a message of Cairn" };
  const body = bytes.subarray(HEAD);
  if (readHex(bytes, PREFIX.length, HEAD - 1) !== crc32(body)) {
    return { kind: "unreadable", reason: "the message's checksum does not match" };
  }
  try {
    return decodeBody(body);
  } catch (error) {
    // Only JSON.parse throws here: the checksum is right, so a later version wrote what this one cannot read.
    if (error instanceof SyntaxError) return { kind: "unreadable", reason: "the message is not readable" };
    throw error;
  }
}

/** What stands for a transaction's content when the same id is submitted again: SHA-256 of operations and documents. */
export function contentHash(payload: Uint8Array): Buffer {
  return createHash("sha256").update(payload.subarray(HEAD)).digest();
}

function decodeBody(body: Buffer): DecodedMessage {
  const end = lineEnd(body, 0);
  const header = JSON.parse(body.toString("utf8", 0, end)) as { ops?: unknown; id?: unknown } | null;
  const { ops: logged, id } = header ?? {};
  if (!Array.isArray(logged)) {
    if (isBirthRecord(header)) return { kind: "birth", birth: header.birth };
    return { kind: "unreadable", reason: "the message has no operations" };
  }
  const ops: LoggedOperation[] = [];
  let hasContent = false;
  let position = end + 1;
  for (const parts of logged as unknown[]) {
    const problem = loggedOperationProblem(parts);
    if (problem !== undefined) return { kind: "unreadable", reason: problem };
    const [op] = parts as LoggedParts;
    const isKeyless = op === "event" || op === "configure";
    let document: Uint8Array | undefined;
    if (op === "put" || isKeyless) {
      if (position > body.length) return { kind: "unreadable", reason: "the message lacks a document" };
      const documentEnd = lineEnd(body, position);
      document = body.subarray(position, documentEnd);
      position = documentEnd + 1;
    }
    if (isKeyless && document !== undefined) {
      hasContent = true;
      const content = JSON.parse(Buffer.from(document).toString("utf8")) as unknown;
      const fault = loggedContentProblem(op, content);
      if (fault !== undefined) return { kind: "unreadable", reason: fault };
      ops.push({ op, bucket: "", key: "", document, revision: (parts as [string, Revision | null])[1] });
      continue;
    }
    const [, bucket, key, revision = null] = parts as LoggedParts;
    ops.push({ op, bucket, key: qualifiedKey(key), document, revision });
  }
  const known = typeof id === "string" ? id : undefined;
  return { kind: "transaction", ops, id: known, header: body.subarray(0, end), hasContent };
}

type LoggedParts = [LoggedOperation["op"], string, string, (Revision | null)?];

function hasHead(bytes: Buffer): boolean {
  if (bytes.length < HEAD || bytes[HEAD - 1] !== NEWLINE) return false;
  for (let at = 0; at < PREFIX.length; at += 1) if (bytes[at] !== PREFIX.charCodeAt(at)) return false;
  return true;
}

/** Hexadecimal digits as a number; NaN when there is anything else. Without making text of them: it is done for every message. */
function readHex(bytes: Buffer, from: number, to: number): number {
  let value = 0;
  for (let at = from; at < to; at += 1) value = value * 16 + (HEX_DIGITS[bytes[at] ?? 0] ?? Number.NaN);
  return value;
}

const HEX_DIGITS: readonly number[] = Array.from({ length: 256 }, (_, code) =>
  /^[0-9a-f]$/.test(String.fromCharCode(code)) ? parseInt(String.fromCharCode(code), 16) : Number.NaN,
);

function lineEnd(body: Buffer, from: number): number {
  const at = body.indexOf(NEWLINE, from);
  return at < 0 ? body.length : at;
}

function frame(body: string): Uint8Array {
  const crc = crc32(body).toString(16).padStart(CRC_DIGITS, "0");
  return Buffer.from(`${PREFIX}${crc}\n${body}`, "utf8");
}

function stringify(document: unknown): string {
  try {
    return JSON.stringify(document);
  } catch (error) {
    throw new CairnError("TX_INVALID", "Not a valid transaction: a document is nested too deeply.", {
      hint: "Nothing was submitted. Store deeply nested data as text.",
      cause: error,
    });
  }
}
