import type { KvReader } from "@cairn/kv";
import type { DocumentKey, TxId } from "@cairn/client";
import { splitKey } from "@cairn/client/protocol";
import { isoTime, type MarkedPlace, formatPosition, qualifiedKey } from "@cairn/text";
import { evictedStems } from "../purge/evicted-versions.ts";
import { markedPlace } from "./cursor.ts";
import { compacted, type WatchCompactedError } from "./watch-compacted.ts";
import { changeBytes, type TransactionEvent, type WatchChange } from "./transaction-event.ts";
import { readFloors } from "./document-reads.ts";
import { firstKept, type IndexState, readState } from "../rows/index-state.ts";
import {
  keysPerRead,
  asKind,
  documentRowKey,
  evictionRowKey,
  expiredRowKey,
  parseNumberedStem,
  parseStem,
  ROW,
  versionRowKey,
  NO_STEM,
} from "../rows/row-keys.ts";
import { unsealed } from "../rows/row-checksum.ts";
import { allRows } from "../rows/row-cursor.ts";
import { readOutcome, readOutcomes } from "../rows/outcome-rows.ts";
import { type Outcome, type OutcomeOperation, outcomeOperations } from "../rows/row-values.ts";
import {
  checkedVersion,
  decodeVersion,
  type VersionValue,
  versionValueRevision,
} from "../rows/version-values.ts";

/** A query for the operations of the transactions after `after`, up to and including `upTo`. */
interface OperationsQuery {
  readonly after: TxId;
  readonly upTo: TxId;
  readonly bucket?: string | undefined;
  readonly namespace?: string | undefined;
  readonly maxTransactions: number;
}

export interface ChangesQuery extends OperationsQuery {
  /** The approximate bound in bytes. A transaction is read as a whole, no matter how large it is. */
  readonly maxBytes: number;
}

/** The transactions up to `end` that changed documents. `end` is undefined if no transaction was read. */
export interface ChangesPage {
  readonly transactions: readonly TransactionEvent[];
  readonly end: ReadTransaction | undefined;
  readonly bytes: number;
}

/** A transaction that was read, whether or not it changed documents. */
export type ReadTransaction = Omit<TransactionEvent, "type" | "changes">;

interface Page extends ChangesPage {
  readonly transactions: TransactionEvent[];
  end: ReadTransaction | undefined;
  bytes: number;
}

interface WantedOperation {
  readonly op: WatchChange["op"];
  readonly bucket: string;
  readonly key: string;
}

interface WantedTransaction extends ReadTransaction {
  readonly operations: readonly WantedOperation[];
  /** The shards of queues that the transaction retired, whose entries no operation names. */
  readonly retired: readonly Pick<DocumentKey, "bucket" | "namespace">[];
}

/** The maximum number of versions that are read together. It is large enough to share the cost of a read. */
const MAX_VERSIONS_PER_READ = 64;
/** The factor by which reads grow until a page is full, so that one large document slows pages of small ones little. */
const READ_GROWTH = 4;

/**
 * Reads the changes made by transactions: the operations from the outcomes, the documents from their versions. Omits
 * changes without effect and those evicted since. Throws `WATCH_COMPACTED` if the rows do not reach back to `after`.
 * The reader must be a snapshot, because a version moves when the next one is written.
 */
export async function readChanges(reader: KvReader, query: ChangesQuery): Promise<ChangesPage> {
  const { after, maxBytes } = query;
  const state = await readState(reader);
  const pruned = await prunedUpTo(reader, state, query.bucket);
  if (after < pruned.changes) throw await compactedAfter(reader, query);
  const page: Page = { transactions: [], end: undefined, bytes: 0 };
  const { largest = 0 } = state ?? {};
  const most = Math.min(MAX_VERSIONS_PER_READ, keysPerRead(largest));
  // As many versions as cannot exceed the page together are read together, and at least one.
  let perRead = Math.min(most, Math.max(1, Math.floor(maxBytes / largest)));
  let chunk: WantedTransaction[] = [];
  let versions = 0;
  for await (const wanted of wantedTransactions(reader, query)) {
    chunk.push(wanted);
    versions += wanted.operations.length;
    if (versions < perRead) continue;
    await readVersions(reader, chunk, page, maxBytes);
    if (page.bytes >= maxBytes) return page;
    chunk = [];
    versions = 0;
    perRead = Math.min(most, perRead * READ_GROWTH);
  }
  await readVersions(reader, chunk, page, maxBytes);
  return page;
}

async function compactedAfter(reader: KvReader, query: OperationsQuery): Promise<WatchCompactedError> {
  return compacted(query.after, formatPosition(await changesFloor(reader, query)));
}

/** Returns the earliest place after which the index has all changes, in `bucket` if it is given. */
export async function changesFloor(
  reader: KvReader,
  { upTo, bucket }: Pick<ChangesQuery, "upTo" | "bucket">,
): Promise<MarkedPlace> {
  const pruned = await prunedUpTo(reader, await readState(reader), bucket);
  let floor = upTo;
  // No range begins among removed rows, because reading past these is slow.
  for await (const [first] of readOutcomes(reader, { after: pruned.outcomes, upTo, limit: 1 }))
    if (first !== undefined) floor = Math.max(pruned.changes, first.txId - 1);
  return await markedPlace(reader, floor);
}

/** The last transaction after which no watch (of `bucket`, if given) can begin, and the last with a removed outcome. */
async function prunedUpTo(
  reader: KvReader,
  state: IndexState | undefined,
  bucket: string | undefined,
): Promise<{ readonly changes: TxId; readonly outcomes: TxId }> {
  const { pruned = 0, outcomesAfter } = state ?? {};
  const outcomes = outcomesAfter ?? 0;
  // A watch begins after a transaction whose mark is known, so that a watcher of a lost history is recognised.
  const floor = firstKept({ outcomesAfter });
  if (pruned === 0 || bucket === undefined) return { changes: Math.max(pruned, floor), outcomes };
  const past = await readFloors(reader, bucket);
  return { changes: Math.max(floor, Math.min(pruned, Math.max(past.floor, past.gone))), outcomes };
}

/** Returns a transaction of the index; undefined if there is none, or its outcome was removed. */
export async function transactionAt(reader: KvReader, txId: TxId): Promise<ReadTransaction | undefined> {
  const outcome = await readOutcome(reader, txId);
  return outcome && readTransaction(txId, outcome);
}

export function readTransaction(txId: TxId, { time, mark }: Pick<Outcome, "time" | "mark">): ReadTransaction {
  return { txId, txTime: isoTime(time), position: formatPosition({ txId, mark }) };
}

/** Yields the transactions of a query with the keys that they concern. Throws `WATCH_COMPACTED`. */
export async function* wantedTransactions(
  reader: KvReader,
  query: OperationsQuery,
): AsyncGenerator<WantedTransaction, void> {
  const { after, upTo, maxTransactions } = query;
  let expected = after + 1;
  for await (const outcomes of readOutcomes(reader, { after, upTo, limit: maxTransactions })) {
    const expired = await expiredWithin(reader, query, expected, expected + outcomes.length - 1);
    for (const { txId, outcome } of outcomes) {
      if (txId !== expected) throw await compactedAfter(reader, query);
      expected += 1;
      const logged = outcomeOperations(outcome);
      const operations = wantedOperations(logged, query);
      const evicts = logged.some(([op]) => op === "evict");
      const evictions = evicts ? await evictedBesides(reader, query, txId, logged) : NOTHING;
      const expirations = expired.get(txId) ?? NOTHING;
      const others = evictions.length + expirations.length;
      const all = others === 0 ? operations : [...operations, ...evictions, ...expirations];
      const retired = logged.flatMap(([op, queue, shard]) => {
        const isMeant = op === "retire" && isWanted(query, queue, String(shard));
        return isMeant ? [{ bucket: queue, namespace: String(shard) }] : [];
      });
      yield { ...readTransaction(txId, outcome), operations: all, retired };
    }
  }
  if (expected === after + 1 && upTo > after) throw await compactedAfter(reader, query);
}

/** Reads the documents that expired with these transactions, committed or not. Their number is bounded. */
async function expiredWithin(
  reader: KvReader,
  query: OperationsQuery,
  first: TxId,
  last: TxId,
): Promise<ReadonlyMap<TxId, readonly WantedOperation[]>> {
  const expired = new Map<TxId, WantedOperation[]>();
  const range = { gte: expiredRowKey(first, NO_STEM), lt: expiredRowKey(last + 1, NO_STEM) };
  for (const [row, value] of await allRows(reader, range)) {
    unsealed(row, value);
    const { number: txId, stem } = parseNumberedStem(row);
    const operation = wantedOn(stem, "delete", query);
    if (operation !== undefined) expired.set(txId, [...(expired.get(txId) ?? []), operation]);
  }
  return expired;
}

/** Undefined if the key with this stem is not wanted. */
function wantedOn(stem: Buffer, op: "delete" | "evict", query: OperationsQuery): WantedOperation | undefined {
  const { bucket, namespace, name } = parseStem(stem);
  return isWanted(query, bucket, namespace) ? { op, bucket, key: `${namespace}/${name}` } : undefined;
}

function isWanted(query: OperationsQuery, bucket: string, namespace: string): boolean {
  return (query.bucket ?? bucket) === bucket && (query.namespace ?? namespace) === namespace;
}

const NO_DOCUMENT: { readonly json?: string } = {};
const NOTHING: readonly WantedOperation[] = [];

/** Keys that no operation names: an eviction of an entry of a queue removes it from every shard. */
async function evictedBesides(
  reader: KvReader,
  query: OperationsQuery,
  txId: TxId,
  logged: readonly OutcomeOperation[],
): Promise<readonly WantedOperation[]> {
  const evictions = logged.filter(([op]) => op === "evict");
  const named = new Set(evictions.map(([, own, key]) => `${own} ${qualifiedKey(key)}`));
  return (await evictedStems(reader, txId)).flatMap((stem) => {
    const operation = wantedOn(stem, "evict", query);
    return operation === undefined || named.has(`${operation.bucket} ${operation.key}`) ? [] : operation;
  });
}

function wantedOperations(
  logged: readonly OutcomeOperation[],
  { bucket, namespace }: OperationsQuery,
): readonly WantedOperation[] {
  const wanted: WantedOperation[] = [];
  for (const [op, opBucket, opKey] of logged) {
    if (op !== "put" && op !== "delete" && op !== "evict") continue;
    if (bucket !== undefined && bucket !== opBucket) continue;
    const key = qualifiedKey(opKey);
    if (namespace !== undefined && !(key.startsWith(namespace) && key[namespace.length] === "/")) continue;
    wanted.push({ op, bucket: opBucket, key });
  }
  return wanted;
}

/** Appends the changes of the transactions in `chunk` to the page, until it has `maxBytes`. */
async function readVersions(
  reader: KvReader,
  chunk: readonly WantedTransaction[],
  page: Page,
  maxBytes: number,
): Promise<void> {
  const values = await effects(reader, chunk);
  let at = 0;
  for (const { operations, txId, txTime, position } of chunk) {
    const read = { txId, txTime, position };
    const changes: WatchChange[] = [];
    for (const { op, bucket, key } of operations) {
      const value = values[at];
      at += 1;
      if (value === undefined) continue;
      // The version of a put always has a document, because no document expires in the transaction that writes it.
      const { json } = op === "put" && value !== EVICTED ? decodeVersion(value) : NO_DOCUMENT;
      if (op === "put" && json === undefined) continue;
      const place = { op, bucket, ...splitKey(key), revision: txId };
      const change: WatchChange = json === undefined ? place : { ...place, json };
      changes.push(change);
      page.bytes += changeBytes(change);
    }
    if (changes.length > 0) page.transactions.push({ type: "tx", ...read, changes });
    page.end = read;
    if (page.bytes >= maxBytes) return;
  }
}

const EVICTED = "evicted";

/**
 * Returns the version that each operation wrote, or its eviction; undefined if it had no effect or was evicted since.
 * Superseded versions are looked up first: the revision in their keys rules out a wrong one.
 */
async function effects(
  reader: KvReader,
  chunk: readonly WantedTransaction[],
): Promise<(VersionValue | typeof EVICTED | undefined)[]> {
  const all = chunk.flatMap(({ txId, operations }) =>
    operations.map(({ op, bucket, key }) => ({ op, txId, rowKey: documentRowKey(bucket, key) })),
  );
  if (all.length === 0) return [];
  const first = all.map(({ op, txId, rowKey }) =>
    op === "evict" ? evictionRowKey(txId, rowKey) : versionRowKey(rowKey, txId),
  );
  const rows = await reader.getMany(first);
  const found = first.map((key, at) => {
    if (all[at]?.op !== "evict") return checkedVersion(key, rows[at]);
    const row = rows[at];
    if (row !== undefined) unsealed(key, row);
    return row && EVICTED;
  });
  const missing = all.flatMap(({ op, txId, rowKey }, at) => {
    if (found[at] !== undefined || op === "evict") return [];
    return [{ at, txId, key: asKind(rowKey, op === "put" ? ROW.document : ROW.tombstone) }];
  });
  if (missing.length === 0) return found;
  const current = await reader.getMany(missing.map(({ key }) => key));
  for (const [place, { at, txId, key }] of missing.entries()) {
    const value = checkedVersion(key, current[place]);
    if (value !== undefined && versionValueRevision(value) === txId) found[at] = value;
  }
  return found;
}
