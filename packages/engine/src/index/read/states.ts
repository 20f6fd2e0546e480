import { type KvReader, TimeSlice } from "@cairn/kv";
import type { DocumentKey, Revision, TxId } from "@cairn/client";
import type { IndexState } from "../rows/index-state.ts";
import {
  documentRowKey,
  documentRowPrefix,
  keysPerRead,
  parseDocumentRowKey,
  prefixEnd,
  ROW,
  rowsOfKind,
} from "../rows/row-keys.ts";
import { checkedVersion, decodeVersion, type VersionValue } from "../rows/version-values.ts";
import { isoTime } from "@cairn/text";
import { type ReadTransaction, wantedTransactions } from "./transaction-changes.ts";

/*
 * States: what keys contain as of a transaction, in contrast to what transactions did. They are exact whatever policies
 * have removed, because the outcomes of transactions name the keys, and only the present documents are read. Entries of
 * a shard of a queue are gone from the transaction that retires the shard, although their rows are removed in slices.
 */

/** The new state of a key or, for `clear`, of all keys of a bucket's namespace, or of everything that is followed. */
export type StateChange =
  | (DocumentKey & {
      readonly op: "put";
      readonly revision: Revision;
      readonly txTime: string;
      readonly json: string;
    })
  | (DocumentKey & { readonly op: "delete" })
  | { readonly op: "clear"; readonly bucket?: string; readonly namespace?: string };

/** The documents that are followed. Defaults to all. */
export interface StatesFilter {
  readonly bucket?: string | undefined;
  readonly namespace?: string | undefined;
}

/** A page of documents in key order, as of `place`. `after` is the row key after which the next page continues. */
export interface ScannedStates {
  readonly place: Pick<IndexState, "txId" | "time" | "mark">;
  readonly changes: readonly StateChange[];
  readonly after: Uint8Array | undefined;
}

export interface StatesOfKeys {
  readonly changes: readonly StateChange[];
  /** The row keys that were not read, because the page is full. */
  readonly rest: readonly Buffer[];
}

export interface ChangedStates extends StatesOfKeys {
  readonly end: ReadTransaction | undefined;
  /** Whether `end` is the last transaction of the index that was read. */
  readonly isEnd: boolean;
}

/** The bounds of a page, which contains at least one document, and of the transactions that are read for one. */
export interface StatesBounds {
  readonly pageKeys: number;
  readonly pageBytes: number;
  /** The number of changed keys after which no further transaction is read. */
  readonly keys: number;
  readonly transactions: number;
}

const BOUNDS: StatesBounds = { pageKeys: 1_000, pageBytes: 256 * 1024, keys: 4_096, transactions: 10_000 };

export async function scanStates(
  reader: KvReader,
  state: IndexState,
  filter: StatesFilter,
  after: Uint8Array | undefined,
): Promise<ScannedStates> {
  const { bucket, namespace } = filter;
  const prefix = bucket === undefined ? undefined : documentRowPrefix(bucket, namespace);
  const { gte, lt } =
    prefix === undefined ? rowsOfKind(ROW.document) : { gte: prefix, lt: prefixEnd(prefix) };
  const isGone = retiringIn(state);
  const changes: StateChange[] = [];
  let bytes = 0;
  const range = { ...(after === undefined ? { gte } : { gt: after }), lt, limit: BOUNDS.pageKeys };
  let read = 0;
  for await (const rows of reader.range(range)) {
    for (const [rowKey, value] of rows) {
      read += 1;
      const key = parseDocumentRowKey(rowKey);
      if ((namespace ?? key.namespace) === key.namespace && !isGone(key)) {
        changes.push(stateOf(key, checkedVersion(rowKey, value)));
        bytes += value.length;
      }
      if (bytes >= BOUNDS.pageBytes || read === BOUNDS.pageKeys)
        return { place: state, changes, after: rowKey };
    }
  }
  return { place: state, changes, after: undefined };
}

/** Reads the states of the next transactions' keys. Throws `WATCH_COMPACTED` if their outcomes were removed. */
export async function changedStates(
  reader: KvReader,
  state: IndexState,
  filter: StatesFilter,
  after: TxId,
  bounds: StatesBounds = BOUNDS,
): Promise<ChangedStates> {
  const query = { ...filter, after, upTo: state.txId, maxTransactions: bounds.transactions };
  const keys = new Map<string, Buffer>();
  const clears: StateChange[] = [];
  let end: ReadTransaction | undefined;
  const slice = new TimeSlice();
  for await (const { operations, retired, ...read } of wantedTransactions(reader, query)) {
    await slice.yieldIfOver();
    for (const { bucket, key } of operations) keys.set(`${bucket} ${key}`, documentRowKey(bucket, key));
    for (const { bucket, namespace } of retired) {
      clears.push({ op: "clear", bucket, namespace });
      for (const key of keys.keys()) if (key.startsWith(`${bucket} ${namespace}/`)) keys.delete(key);
    }
    end = read;
    if (keys.size >= bounds.keys) break;
  }
  const { changes, rest } = await keyStates(reader, state, [...keys.values()], bounds);
  return { changes: [...clears, ...changes], rest, end, isEnd: (end?.txId ?? after) === state.txId };
}

/** Reads the present states of keys, as many as fit a page. */
export async function keyStates(
  reader: KvReader,
  state: IndexState,
  rowKeys: readonly Buffer[],
  { pageKeys, pageBytes }: StatesBounds = BOUNDS,
): Promise<StatesOfKeys> {
  const isGone = retiringIn(state);
  const perRead = Math.min(128, pageKeys, keysPerRead(state.largest));
  const changes: StateChange[] = [];
  let bytes = 0;
  let at = 0;
  const slice = new TimeSlice();
  for (; at < rowKeys.length && changes.length < pageKeys && bytes < pageBytes; at += perRead) {
    await slice.yieldIfOver();
    const some = rowKeys.slice(at, at + perRead);
    const values = await reader.getMany(some);
    for (const [index, rowKey] of some.entries()) {
      const key = parseDocumentRowKey(rowKey);
      const value = isGone(key) ? undefined : checkedVersion(rowKey, values[index]);
      changes.push(value === undefined ? { op: "delete", ...key } : stateOf(key, value));
      bytes += value?.length ?? 0;
    }
  }
  return { changes, rest: rowKeys.slice(at) };
}

/** Returns the state that a document row has or, without a value, the state of a key whose row was removed. */
export function stateOfRow(rowKey: Uint8Array, value: Uint8Array | undefined): StateChange {
  const key = parseDocumentRowKey(rowKey);
  return value === undefined ? { op: "delete", ...key } : stateOf(key, checkedVersion(rowKey, value));
}

function stateOf(key: DocumentKey, value: VersionValue): StateChange {
  const { revision, time, json = "null" } = decodeVersion(value);
  return { op: "put", ...key, revision, txTime: isoTime(time), json };
}

/** Returns whether a key belongs to a retired shard whose rows are being removed. */
function retiringIn({ retiring = [] }: IndexState): (key: DocumentKey) => boolean {
  const shards = new Set(retiring.map(({ queue, shard }) => `${queue} ${shard}`));
  return shards.size === 0 ? () => false : ({ bucket, namespace }) => shards.has(`${bucket} ${namespace}`);
}
