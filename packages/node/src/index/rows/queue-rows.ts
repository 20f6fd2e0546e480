import type { TxId } from "@cairn/client";
import { damagedRow, sealed, unsealed } from "./row-checksum.ts";
import { asBuffer, END, escape, ID_BYTES, readId, ROW, writeId } from "./row-keys.ts";

/** The states of shards that have a row. A spare shard has none. */
export type ShardState = "active" | "draining" | "retiring";

/** Rows contain an index into this list, so a different order would require another index version. */
const STATES: readonly ShardState[] = ["active", "draining", "retiring"];

/** Who holds a shard, and until when (ms since 1970, by the times of transactions). */
export interface ShardHolder {
  readonly as: string;
  readonly until: number;
}

/** A shard of a queue that is not spare. */
export interface Shard {
  readonly state: ShardState;
  readonly entries: number;
  readonly open: number;
  /** The newest epoch: the transaction that last claimed, drained or fenced off the shard; 0 if none did. */
  readonly epoch: TxId;
  /** The director or, of a draining shard, the drainer. */
  readonly holder: ShardHolder | undefined;
}

/** The shard of an entry, and its origin. */
export interface EntryPlace {
  readonly shard: number;
  readonly isOpen: boolean;
  /** The transaction that created the entry, and the place of the operation in it. They order the open entries. */
  readonly txId: TxId;
  readonly at: number;
  /** The last move of the entry: the shard that it came from, and the transaction. */
  readonly moved: { readonly from: number; readonly txId: TxId } | undefined;
}

const SHARD_BYTES = 4;

/** Returns the beginning of the row keys of a queue. */
export function queuePrefix(
  kind: typeof ROW.shard | typeof ROW.place | typeof ROW.openEntry,
  queue: string,
): Buffer {
  return Buffer.concat([Buffer.from([kind]), Buffer.from(queue, "utf8"), Buffer.from([END])]);
}

/** Returns the range of the rows of a queue's shards, in the order of their numbers. */
export function shardRows(queue: string): { gte: Buffer; lt: Buffer } {
  return { gte: shardRowKey(queue, 0), lt: shardRowKey(queue, 2 ** 32 - 1) };
}

export function shardRowKey(queue: string, shard: number): Buffer {
  return Buffer.concat([queuePrefix(ROW.shard, queue), uint32(shard)]);
}

/** Returns the number of the shard at the end of a shard row's key. */
export function shardNumber(key: Uint8Array): number {
  return asBuffer(key).readUInt32BE(key.length - SHARD_BYTES);
}

export function placeRowKey(queue: string, name: string): Buffer {
  return Buffer.concat([queuePrefix(ROW.place, queue), escape(name), Buffer.from([END])]);
}

/** Returns the key of an open entry's row. Rows of a shard are in the order in which their entries were created. */
export function openRowKey(
  queue: string,
  { shard, txId, at }: Pick<EntryPlace, "shard" | "txId" | "at">,
): Buffer {
  const order = Buffer.allocUnsafe(ID_BYTES + 4);
  writeId(order, 0, txId);
  order.writeUInt32BE(at, ID_BYTES);
  return Buffer.concat([queuePrefix(ROW.openEntry, queue), uint32(shard), order]);
}

/** Returns the range of the rows of a shard's open entries. */
export function openRows(queue: string, shard: number): { gte: Buffer; lt: Buffer } {
  const gte = openRowKey(queue, { shard, txId: 0, at: 0 });
  return { gte, lt: openRowKey(queue, { shard: shard + 1, txId: 0, at: 0 }) };
}

/** Returns the origin of an entry at the end of an open entry's row key. */
export function openRowOrigin(key: Uint8Array): Pick<EntryPlace, "txId" | "at"> {
  const bytes = asBuffer(key);
  const at = bytes.length - ID_BYTES - 4;
  return { txId: readId(bytes, at), at: bytes.readUInt32BE(at + ID_BYTES) };
}

/** Returns the number of the shard in the key of an open entry's row. */
export function openRowShard(key: Uint8Array): number {
  return asBuffer(key).readUInt32BE(key.length - ID_BYTES - 4 - SHARD_BYTES);
}

/** Encodes a shard row's value: state, entries, open entries, epoch and, if the shard is held, until when and by whom. */
export function encodeShard(key: Uint8Array, { state, entries, open, epoch, holder }: Shard): Buffer {
  const as = Buffer.from(holder?.as ?? "", "utf8");
  const content = Buffer.alloc(1 + 4 * ID_BYTES + as.length);
  content[0] = STATES.indexOf(state);
  for (const [at, number] of [entries, open, epoch, holder?.until ?? 0].entries()) {
    writeId(content, 1 + at * ID_BYTES, number);
  }
  content.set(as, 1 + 4 * ID_BYTES);
  return sealed(key, content);
}

/** Decodes a shard row's value. The name of a holder is never empty. */
export function decodeShard(key: Uint8Array, value: Uint8Array): Shard {
  const content = unsealed(key, value);
  const state = STATES[content[0] ?? STATES.length];
  if (state === undefined) throw damagedRow(key);
  const [entries = 0, open = 0, epoch = 0, until = 0] = [0, 1, 2, 3].map((at) =>
    readId(content, 1 + at * ID_BYTES),
  );
  const as = content.toString("utf8", 1 + 4 * ID_BYTES);
  return { state, entries, open, epoch, holder: as === "" ? undefined : { as, until } };
}

/** Encodes a place row's value: shard, open or not, origin and, if the entry was moved, whence and when. */
export function encodePlace(key: Uint8Array, { shard, isOpen, txId, at, moved }: EntryPlace): Buffer {
  const head = Buffer.allocUnsafe(2 * SHARD_BYTES + 1 + ID_BYTES);
  head.writeUInt32BE(shard, 0);
  head[SHARD_BYTES] = isOpen ? 1 : 0;
  writeId(head, SHARD_BYTES + 1, txId);
  head.writeUInt32BE(at, SHARD_BYTES + 1 + ID_BYTES);
  if (moved === undefined) return sealed(key, head);
  const tail = Buffer.allocUnsafe(SHARD_BYTES + ID_BYTES);
  tail.writeUInt32BE(moved.from, 0);
  writeId(tail, SHARD_BYTES, moved.txId);
  return sealed(key, Buffer.concat([head, tail]));
}

/** Decodes a place row's value. */
export function decodePlace(key: Uint8Array, value: Uint8Array): EntryPlace {
  const content = unsealed(key, value);
  const head = 2 * SHARD_BYTES + 1 + ID_BYTES;
  return {
    shard: content.readUInt32BE(0),
    isOpen: content[SHARD_BYTES] === 1,
    txId: readId(content, SHARD_BYTES + 1),
    at: content.readUInt32BE(SHARD_BYTES + 1 + ID_BYTES),
    moved:
      content.length === head
        ? undefined
        : { from: content.readUInt32BE(head), txId: readId(content, head + SHARD_BYTES) },
  };
}

/** Returns the number of a shard from the namespace of its entries; undefined if no shard has it. */
export function shardOfNamespace(namespace: string): number | undefined {
  return /^(?:0|[1-9]\d{0,3})$/.test(namespace) ? Number(namespace) : undefined;
}

function uint32(number: number): Buffer {
  const bytes = Buffer.allocUnsafe(SHARD_BYTES);
  bytes.writeUInt32BE(number);
  return bytes;
}
