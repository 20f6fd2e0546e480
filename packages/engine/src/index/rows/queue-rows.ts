import type { TxId } from "@cairn/client";
import { sealedJson, unsealedJson } from "./row-checksum.ts";
import {
  asBuffer,
  END,
  escape,
  ID_BYTES,
  readId,
  ROW,
  type RowKind,
  writeAsciiPart,
  writeId,
} from "./row-keys.ts";

/** The states of shards that have a row. A spare shard has none. */
type ShardState = "active" | "draining" | "retiring";

/** A shard of a queue that is not spare. */
export interface Shard {
  readonly state: ShardState;
  readonly entries: number;
  readonly open: number;
  /** The newest epoch: the transaction that last claimed, drained or fenced off the shard; 0 if none did. */
  readonly epoch: TxId;
  /** The director or, of a draining shard, the drainer, and until when (ms since 1970, by the times of transactions). */
  readonly holder: { readonly as: string; readonly until: number } | undefined;
}

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
const PLACE_BYTES = 4;

export function shardRows(queue: string): { gte: Buffer; lt: Buffer } {
  return { gte: shardRowKey(queue, 0), lt: shardRowKey(queue, 2 ** 32 - 1) };
}

export function shardRowKey(queue: string, shard: number): Buffer {
  const key = keyOfQueue(ROW.shard, queue, SHARD_BYTES);
  key.writeUInt32BE(shard, key.length - SHARD_BYTES);
  return key;
}

export function shardNumber(key: Uint8Array): number {
  return asBuffer(key).readUInt32BE(key.length - SHARD_BYTES);
}

export function placeRowKey(queue: string, name: string): Buffer {
  const key = keyOfQueue(ROW.place, queue, name.length + 1);
  if (writeAsciiPart(key, queue.length + 2, name) > 0) return key;
  return Buffer.concat([keyOfQueue(ROW.place, queue, 0), escape(name), Buffer.from([END])]);
}

/** Returns the key of an open entry's row. Rows of a shard are in the order in which their entries were created. */
export function openRowKey(
  queue: string,
  { shard, txId, at }: Pick<EntryPlace, "shard" | "txId" | "at">,
): Buffer {
  const key = keyOfQueue(ROW.openEntry, queue, SHARD_BYTES + ID_BYTES + PLACE_BYTES);
  const shardAt = queue.length + 2;
  key.writeUInt32BE(shard, shardAt);
  writeId(key, shardAt + SHARD_BYTES, txId);
  key.writeUInt32BE(at, shardAt + SHARD_BYTES + ID_BYTES);
  return key;
}

/** Returns a key that begins with a kind and a queue's name, which is ASCII, and that has room for `more` bytes. */
function keyOfQueue(kind: RowKind, queue: string, more: number): Buffer {
  const key = Buffer.allocUnsafe(queue.length + 2 + more);
  key[0] = kind;
  writeAsciiPart(key, 1, queue);
  return key;
}

export function openRows(queue: string, shard: number): { gte: Buffer; lt: Buffer } {
  const gte = openRowKey(queue, { shard, txId: 0, at: 0 });
  return { gte, lt: openRowKey(queue, { shard: shard + 1, txId: 0, at: 0 }) };
}

export function openRowOrigin(key: Uint8Array): Pick<EntryPlace, "txId" | "at"> {
  const bytes = asBuffer(key);
  const at = bytes.length - ID_BYTES - PLACE_BYTES;
  return { txId: readId(bytes, at), at: bytes.readUInt32BE(at + ID_BYTES) };
}

export function openRowShard(key: Uint8Array): number {
  return asBuffer(key).readUInt32BE(key.length - ID_BYTES - PLACE_BYTES - SHARD_BYTES);
}

export function encodeShard(key: Uint8Array, { state, entries, open, epoch, holder }: Shard): Buffer {
  return sealedJson(key, [
    state,
    entries,
    open,
    epoch,
    ...(holder === undefined ? [] : [holder.as, holder.until]),
  ]);
}

export function decodeShard(key: Uint8Array, value: Uint8Array): Shard {
  type Content = [ShardState, number, number, TxId, string?, number?];
  const [state, entries, open, epoch, as, until] = unsealedJson<Content>(key, value);
  const holder = as === undefined || until === undefined ? undefined : { as, until };
  return { state, entries, open, epoch, holder };
}

export function encodePlace(key: Uint8Array, { shard, isOpen, txId, at, moved }: EntryPlace): Buffer {
  return sealedJson(key, [shard, isOpen, txId, at, ...(moved === undefined ? [] : [moved.from, moved.txId])]);
}

export function decodePlace(key: Uint8Array, value: Uint8Array): EntryPlace {
  const [shard, isOpen, txId, at, from, movedBy] = unsealedJson<PlaceContent>(key, value);
  const moved = from === undefined || movedBy === undefined ? undefined : { from, txId: movedBy };
  return { shard, isOpen, txId, at, moved };
}

type PlaceContent = [shard: number, isOpen: boolean, txId: TxId, at: number, from?: number, movedBy?: TxId];

/** Returns the number of a shard from the namespace of its entries; undefined if no shard has it. */
export function shardOfNamespace(namespace: string): number | undefined {
  return /^(?:0|[1-9]\d{0,3})$/.test(namespace) ? Number(namespace) : undefined;
}
