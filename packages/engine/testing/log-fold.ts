import { createHash } from "node:crypto";
import { crc32 } from "node:zlib";
import type { LogMessage } from "../src/log/tx-log.ts";

/** A version of a key. A deletion has no `json`. */
export interface FoldedVersion {
  readonly revision: number;
  /** The time of the version's transaction (ms since 1970). */
  readonly time: number;
  readonly json: string | undefined;
}

/** What a transaction did: whether it committed, and the earlier transaction with the same id if it repeats one. */
export interface FoldedOutcome {
  readonly committed: boolean;
  readonly duplicateOf?: number;
}

/** An operation in the header of a message. */
export type FoldedOperation = readonly [kind: string, bucket: string, key: string, revision?: number | null];

const HEAD = /^cairn\/1 ([0-9a-f]{8}) ([0-9a-f]{16}) [0-9a-f]{16}(?: [!-~]{1,64})?\n/;
/** The part of the first line that the checksum does not cover. */
const UNCHECKED = "cairn/1 00000000 ".length;

/**
 * The oracle: the log's messages folded into plain maps. It follows docs/internals/log-format.md and
 * docs/internals/index-format.md, and uses no part of a node. A node at transaction `txId` must have this digest,
 * whatever happened to it before.
 */
export class LogFold {
  txId = 0;
  logId = "";
  /** The transactions without an id and operations: barriers, and probes of a log that has refused transactions. */
  readonly barriers = new Set<number>();
  readonly #keys = new Map<string, FoldedVersion[]>();
  readonly #ids = new Map<string, number>();
  readonly #outcomes = new Map<number, FoldedOutcome>();
  #offset = 0;
  #time = 0;
  #position = 0;

  /** Folds `messages` up to transaction `upTo`. */
  static async of(messages: AsyncIterable<LogMessage>, upTo = Number.POSITIVE_INFINITY): Promise<LogFold> {
    const fold = new LogFold();
    for await (const message of messages) {
      if (message.position + fold.#offset > upTo) break;
      fold.apply(message);
    }
    return fold;
  }

  /** Applies the next message. Throws if one is missing, because the digest would be wrong. A new log begins at 1. */
  apply({ position, time, payload }: LogMessage): void {
    if (position !== 1 && position !== this.#position + 1)
      throw new Error(`The fold lacks message ${this.#position + 1}: the next one is ${position}.`);
    this.#position = position;
    const message = readMessage(payload);
    const birth = position === 1 ? message?.birth : undefined;
    if (birth !== undefined) [this.logId, this.#offset] = [birth.log, birth.offset];
    const { ops = [], id, documents } = message?.logTag === logTagOf(this.logId) ? message : NOTHING;
    const unread = [...documents];
    this.txId = position + this.#offset;
    this.#time = Math.max(this.#time, time);
    const first = id === undefined ? undefined : this.#ids.get(id);
    if (first !== undefined) {
      this.#outcomes.set(this.txId, {
        committed: this.outcome(first)?.committed === true,
        duplicateOf: first,
      });
      return;
    }
    if (id !== undefined) this.#ids.set(id, this.txId);
    else if (ops.length === 0 && message?.ops !== undefined) this.barriers.add(this.txId);
    const committed = ops.every(
      ([kind, bucket, key, revision]) => kind !== "match" || this.#revision(stemOf(bucket, key)) === revision,
    );
    this.#outcomes.set(this.txId, { committed });
    if (!committed) return;
    for (const [kind, bucket, key] of ops) {
      // Events and policies also have their own lines, and are not part of the digest.
      if (kind === "event" || kind === "configure") unread.shift();
      else if (kind !== "match") this.#write(kind, stemOf(bucket, key), unread);
    }
  }

  /** Returns the transaction in which an idempotency id first occurred. */
  transactionOf(id: string): number | undefined {
    return this.#ids.get(id);
  }

  /** Returns what a transaction did; undefined if the fold does not contain it. */
  outcome(txId: number): FoldedOutcome | undefined {
    return this.#outcomes.get(txId);
  }

  /** Returns the version of a key that a transaction wrote; undefined if it wrote none. */
  version(bucket: string, key: string, revision: number): FoldedVersion | undefined {
    return this.versions(bucket, key).find((version) => version.revision === revision);
  }

  /** Returns the versions of a key, oldest first. */
  versions(bucket: string, key: string): readonly FoldedVersion[] {
    return this.#keys.get(stemOf(bucket, key)) ?? [];
  }

  digest(): string {
    return foldedDigest(this.logId, this.txId, this.#keys);
  }

  /** Returns the keys that have versions. Their parts must not contain a NUL. */
  keys(): { readonly bucket: string; readonly namespace: string; readonly name: string }[] {
    return [...this.#keys.keys()].map((stem) => {
      const [bucket = "", namespace = "", name = ""] = Buffer.from(stem, "latin1")
        .toString("utf8")
        .split("\0");
      return { bucket, namespace, name };
    });
  }

  #revision(stem: string): number | null {
    const last = this.#keys.get(stem)?.at(-1);
    return last?.json === undefined ? null : last.revision;
  }

  #write(kind: string, stem: string, documents: string[]): void {
    const versions = this.#keys.get(stem) ?? [];
    const head = { revision: this.txId, time: this.#time };
    if (kind === "evict") this.#keys.delete(stem);
    else if (kind === "put") this.#keys.set(stem, [...versions, { ...head, json: documents.shift() ?? "" }]);
    else if (this.#revision(stem) !== null) this.#keys.set(stem, [...versions, { ...head, json: undefined }]);
  }
}

/** Computes the digest of docs/internals/index-format.md for the versions of keys, oldest first, by {@link stemOf}. */
export function foldedDigest(
  logId: string,
  txId: number,
  keys: ReadonlyMap<string, readonly FoldedVersion[]>,
): string {
  const hash = createHash("sha256").update(`cairn-digest/1\n${logId}\n${txId}\n`);
  for (const stem of [...keys.keys()].toSorted((a, b) => (a < b ? -1 : 1))) {
    const bytes = Buffer.from(stem, "latin1");
    for (const version of keys.get(stem) ?? []) {
      for (const part of [bytes, versionContent(version)]) {
        const length = Buffer.alloc(4);
        length.writeUInt32BE(part.length);
        hash.update(length).update(part);
      }
    }
  }
  return `sha256:${hash.digest("hex")}`;
}

interface FirstLine {
  readonly birth?: { readonly log: string; readonly offset: number };
  readonly ops?: readonly FoldedOperation[];
  readonly id?: string;
}

/** A message whose first line and checksum are valid. */
export interface ReadMessage extends FirstLine {
  readonly logTag: string;
  /** The lines after the header, one for each put, event and configure, in order. */
  readonly documents: readonly string[];
}

/** Parses a message of docs/internals/log-format.md; undefined if its first line or its checksum is invalid. */
export function readMessage(payload: Uint8Array): ReadMessage | undefined {
  const text = Buffer.from(payload).toString("utf8");
  const [head = "", checksum = "", logTag = ""] = HEAD.exec(text) ?? [];
  if (Number.parseInt(checksum, 16) !== crc32(payload.subarray(UNCHECKED))) return undefined;
  const [first = "", ...documents] = text.slice(head.length).split("\n");
  return { ...(JSON.parse(first) as FirstLine), logTag, documents };
}

const NOTHING: ReadMessage = { logTag: "", documents: [] };

/** Returns the log tag that a message must contain. */
export function logTagOf(logId: string): string {
  return createHash("sha256").update(logId).digest("hex").slice(0, 16);
}

/** Returns a key's stem as a string of byte values, so that strings compare like the bytes. */
export function stemOf(bucket: string, key: string): string {
  const slash = key.indexOf("/");
  const parts = [bucket, key.slice(0, slash), key.slice(slash + 1)];
  return parts
    .map((part) => `${Buffer.from(part).toString("latin1").replaceAll("\0", "\0\u00FF")}\0`)
    .join("");
}

/** Encodes a number in 8 bytes of 7 bits each, highest first. */
function sevenBits(number: number): number[] {
  const digits = BigInt(number).toString(2).padStart(56, "0").match(/.{7}/g) ?? [];
  return digits.map((bits) => Number.parseInt(bits, 2));
}

/** Returns the CRC-32C, computed bit by bit. */
export function crc32c(bytes: Uint8Array): number {
  let sum = 0xffffffff;
  for (const byte of bytes) {
    sum ^= byte;
    for (let bit = 0; bit < 8; bit++) sum = sum & 1 ? (sum >>> 1) ^ 0x82f63b78 : sum >>> 1;
  }
  return ~sum >>> 0;
}

function versionContent({ revision, time, json }: FoldedVersion): Buffer {
  const head = Buffer.alloc(17);
  head[0] = json === undefined ? 1 : 0;
  head.set(sevenBits(revision), 1);
  head.set(sevenBits(time), 9);
  return Buffer.concat([head, Buffer.from(json ?? "")]);
}
