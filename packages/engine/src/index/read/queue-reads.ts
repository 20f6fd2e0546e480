import type { KvReader } from "@cairn/kv";
import type { DocumentKey, Position, QueuePolicy, QueueShard, QueueStatus, TxId } from "@cairn/client";
import { isoTime, ownMember, formatPosition } from "@cairn/text";
import type { StoredDocument } from "./documents.ts";
import { MAX_PAGE_BYTES } from "./document-reads.ts";
import { openEntriesCursor } from "./cursor.ts";
import type { IndexState } from "../rows/index-state.ts";
import { keysPerRead, documentKeyRow } from "../rows/row-keys.ts";
import {
  decodePlace,
  decodeShard,
  openRowKey,
  openRowOrigin,
  openRows,
  type EntryPlace,
  placeRowKey,
  shardNumber,
  shardRows,
} from "../rows/queue-rows.ts";
import { allRows, readEach } from "../rows/row-cursor.ts";
import { damagedRow, unsealed } from "../rows/row-checksum.ts";
import { checkedVersion, decodeVersion } from "../rows/version-values.ts";

export interface OpenEntry {
  readonly document: StoredDocument;
  /** The transaction that created the entry, and the place of the operation in it. They order the entries. */
  readonly origin: Pick<EntryPlace, "txId" | "at">;
}

export interface OpenEntriesQuery {
  readonly queue: string;
  readonly shard: number;
  readonly limit: number;
  readonly cursor?: string | undefined;
}

/** A page of the open entries of a shard as of `txId`. `cursor` is undefined on the last page. */
export interface OpenEntriesFound {
  readonly txId: TxId;
  readonly position: Position;
  readonly entries: readonly OpenEntry[];
  readonly cursor: string | undefined;
}

export interface FoundEntry {
  readonly document: StoredDocument;
  readonly place: EntryPlace;
}

type QueuesFound = { readonly txId: TxId; readonly queues: readonly QueueStatus[] };

/** Returns all queues, ordered by name. Reads a row for each shard that is not spare. */
export async function readQueues(reader: KvReader, state: IndexState): Promise<QueuesFound> {
  const policies = Object.entries(state.policies?.value.queues ?? {}).toSorted(([a], [b]) =>
    a < b ? -1 : 1,
  );
  const queues = await readEach(policies, ([name, policy]) => readSummary(reader, name, policy));
  return { txId: state.txId, queues };
}

export async function readQueue(
  reader: KvReader,
  state: IndexState,
  name: string,
): Promise<{ txId: TxId; queue: QueueStatus | undefined }> {
  const { queues = {} } = state.policies?.value ?? {};
  const policy = ownMember(queues, name);
  const queue = policy === undefined ? undefined : await readSummary(reader, name, policy);
  return { txId: state.txId, queue };
}

async function readSummary(reader: KvReader, name: string, policy: QueuePolicy): Promise<QueueStatus> {
  const shards = (await allRows(reader, shardRows(name))).map((row) => shownShard(...row));
  const [entries, open] = [sumOf(shards, "entries"), sumOf(shards, "open")];
  return { name, policy, entries, open, spare: policy.shards - shards.length, shards };
}

function shownShard(key: Uint8Array, value: Uint8Array): QueueShard {
  const { state, entries, open, epoch, holder } = decodeShard(key, value);
  return {
    shard: shardNumber(key),
    state,
    entries,
    open,
    epoch: epoch === 0 ? null : epoch,
    holder: holder === undefined ? null : { as: holder.as, until: isoTime(holder.until) },
  };
}

function sumOf(shards: readonly QueueShard[], count: "entries" | "open"): number {
  return shards.reduce((sum, shard) => sum + shard[count], 0);
}

/** Returns an entry, by its name alone; undefined if there is no such entry. The reader must be a snapshot. */
export async function readEntry(
  reader: KvReader,
  { txId }: IndexState,
  queue: string,
  name: string,
): Promise<{ txId: TxId; entry: FoundEntry | undefined }> {
  const placeKey = placeRowKey(queue, name);
  const value = await reader.get(placeKey);
  if (value === undefined) return { txId, entry: undefined };
  const place = decodePlace(placeKey, value);
  const key = { bucket: queue, namespace: String(place.shard), name };
  const document = await readStored(reader, [key]);
  return { txId, entry: document[0] === undefined ? undefined : { document: document[0], place } };
}

/** The maximum number of entries that are read at once. A page may end before them. */
const MAX_ENTRIES_PER_READ = 64;

/**
 * Returns a page of a shard's open entries, oldest first: at most `limit`, and not many more bytes than a page of
 * documents. Each page is as of its own transaction: an entry that is moved into the shard between two pages may be
 * missed, but a watch from the first page's transaction reports it. The reader must be a snapshot. Throws
 * `REQUEST_INVALID` for a cursor of another list.
 */
export async function readOpenEntries(
  reader: KvReader,
  { txId, mark, largest }: IndexState,
  query: OpenEntriesQuery,
): Promise<OpenEntriesFound> {
  const { queue, shard, limit, cursor } = query;
  const { gte, lt } = openRows(queue, shard);
  const last = await openEntriesCursor.resume(reader, query, cursor);
  const begin = last === undefined ? { gte } : { gt: openRowKey(queue, { shard, ...last.after }) };
  const perRead = Math.min(MAX_ENTRIES_PER_READ, keysPerRead(largest));
  const position = formatPosition({ txId, mark });
  const entries: OpenEntry[] = [];
  let bytes = 0;
  for await (const rows of reader.range({ ...begin, lt, limit })) {
    const keys = rows.map(([key, value]) => {
      const name = unsealed(key, value).toString("utf8");
      return { bucket: queue, namespace: String(shard), name };
    });
    let documents: readonly (StoredDocument | undefined)[] = [];
    for (const [at, [rowKey]] of rows.entries()) {
      const place = at % perRead;
      if (place === 0) documents = await readStored(reader, keys.slice(at, at + perRead));
      const document = documents[place];
      if (document === undefined) throw damagedRow(rowKey);
      const origin = openRowOrigin(rowKey);
      entries.push({ document, origin });
      bytes += document.json.length;
      if (bytes >= MAX_PAGE_BYTES || entries.length === limit)
        return { txId, position, entries, cursor: openEntriesCursor.encode(query, { txId, mark }, origin) };
    }
  }
  return { txId, position, entries, cursor: undefined };
}

/** Returns the current documents of keys, in their order; undefined for keys without one. */
async function readStored(
  reader: KvReader,
  keys: readonly DocumentKey[],
): Promise<(StoredDocument | undefined)[]> {
  const rowKeys = keys.map((key) => documentKeyRow(key));
  const values = await reader.getMany(rowKeys);
  return keys.map((key, at) => {
    const rowKey = rowKeys[at];
    const value = rowKey && checkedVersion(rowKey, values[at]);
    if (value === undefined) return undefined;
    const { revision, json = "null" } = decodeVersion(value);
    return { ...key, revision, json };
  });
}
