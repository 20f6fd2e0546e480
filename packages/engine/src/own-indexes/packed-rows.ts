import type { KvOperation } from "@cairn/kv";
import { ROW } from "../index/rows/row-keys.ts";
import { type StateChange, stateOfRow } from "../index/read/states.ts";

/*
 * Document rows as bytes, which one thread can pass to another without copying them: for each row the lengths of its key
 * and its value, then both. A row that was removed has no value.
 */

const REMOVED = 0xffff_ffff;
const LENGTHS = 8;

/** Returns whether a change of a row is one of a document's present state. */
export function isState({ key }: Pick<KvOperation, "key">): boolean {
  return key[0] === ROW.document;
}

export function packRows(rows: readonly KvOperation[]): Uint8Array<ArrayBuffer> {
  let bytes = 0;
  for (const row of rows) bytes += LENGTHS + row.key.length + (row.type === "put" ? row.value.length : 0);
  const packed = new Uint8Array(bytes);
  const view = new DataView(packed.buffer);
  let at = 0;
  for (const row of rows) {
    const value = row.type === "put" ? row.value : undefined;
    view.setUint32(at, row.key.length);
    view.setUint32(at + 4, value?.length ?? REMOVED);
    at += LENGTHS;
    packed.set(row.key, at);
    at += row.key.length;
    if (value === undefined) continue;
    packed.set(value, at);
    at += value.length;
  }
  return packed;
}

/** Returns the last state of each key in packed rows. */
export function unpackStates(packed: Uint8Array): StateChange[] {
  const view = new DataView(packed.buffer, packed.byteOffset, packed.byteLength);
  const states = new Map<string, StateChange>();
  for (let at = 0; at < packed.length;) {
    const valueAt = at + LENGTHS + view.getUint32(at);
    const length = view.getUint32(at + 4);
    const key = packed.subarray(at + LENGTHS, valueAt);
    at = length === REMOVED ? valueAt : valueAt + length;
    const value = length === REMOVED ? undefined : packed.subarray(valueAt, at);
    states.set(Buffer.from(key).toString("latin1"), stateOfRow(key, value));
  }
  return [...states.values()];
}
