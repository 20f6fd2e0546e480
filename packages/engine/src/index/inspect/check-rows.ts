import { isCairnError, type KvReader, type KvRow, type CairnError } from "@cairn/kv";
import type { IndexState } from "../rows/index-state.ts";
import {
  asKind,
  parseDocumentRowKey,
  ROW,
  STATE_ROW_KEY,
  parseNumberedStem,
  rowTxId,
  versionRowKey,
  versionStem,
  ID_BYTES,
  counterRowKey,
  asBuffer,
  partEnd,
} from "../rows/row-keys.ts";
import { headsOf } from "../rows/index-rows.ts";
import { kindName } from "../rows/row-names.ts";
import { isSealed, unusableIndex } from "../rows/row-checksum.ts";
import { decodeCounters } from "../rows/row-values.ts";
import { checkedVersion, decodeVersion, isVersionOf, versionValueRevision } from "../rows/version-values.ts";
import { decodePlace, decodeShard, openRowShard, shardNumber } from "../rows/queue-rows.ts";
import { madeOnce } from "@cairn/text";
import { readOutcomes } from "../rows/outcome-rows.ts";

interface RowCounts {
  readonly rows: number;
  readonly documents: number;
}

/**
 * Reads every row of the index once and yields its problems: unreadable values, revisions and transactions beyond the
 * end of the index, and counters that differ from a full count. The index must not change meanwhile.
 */
export async function* checkRows(
  reader: KvReader,
  state: IndexState,
): AsyncGenerator<{ readonly key: Uint8Array; readonly problem: string }, RowCounts, void> {
  const buckets: Buckets = new Tally({ documents: 0, tombstones: 0 });
  const queues = state.policies?.value.queues;
  const shards: Shards = new Tally({ documents: 0, places: 0, open: 0 });
  let rows = 0;
  let documents = 0;
  for await (const page of reader.range({})) {
    rows += page.length;
    for (const [key, value] of page) {
      if (key[0] === ROW.document && isStem(key.subarray(1))) documents += 1;
      const problem =
        judgeRow(key, value, state, buckets) ?? (queues && judgeQueue(key, value, queues, shards));
      if (problem !== undefined) yield { key, problem };
    }
    // The documents of all tombstones in a page are read at once.
    const tombstones = page.filter(([key]) => key[0] === ROW.tombstone).map(([key]) => key);
    const both = await reader.getMany(tombstones.map((key) => asKind(key, ROW.document)));
    for await (const key of unusedContents(reader, page))
      yield { key, problem: "no version has its document" };
    for (const [at, document] of both.entries()) {
      const key = tombstones[at];
      if (document !== undefined && key !== undefined) {
        yield { key, problem: "its key has a document as well" };
      }
    }
  }
  for (const bucket of buckets.left()) {
    yield {
      key: counterRowKey(bucket),
      problem: "the bucket has documents or tombstones, but no counters",
    };
  }
  for (const shard of shards.left()) {
    yield { key: STATE_ROW_KEY, problem: `the shard ${shard} has entries, but no row` };
  }
  try {
    await checkTransactions(reader, state);
  } catch (error) {
    if (!isCairnError(error, "INDEX_CORRUPT")) throw error;
    yield { key: STATE_ROW_KEY, problem: error.message };
  }
  if (documents !== state.documents) {
    const problem = `it counts ${state.documents} documents, but there are ${documents}`;
    yield { key: STATE_ROW_KEY, problem };
  }
  return { rows, documents };
}

const NOT_WRITTEN = "its checksum does not match its key and value";

function judgeRow(
  key: Uint8Array,
  value: Uint8Array,
  state: IndexState,
  buckets: Buckets,
): string | undefined {
  switch (key[0]) {
    case ROW.document:
    case ROW.tombstone:
      if (!isStem(key.subarray(1))) return "its key is truncated";
      buckets.add(parseDocumentRowKey(key).bucket, key[0] === ROW.document ? "documents" : "tombstones");
      return judgeVersion(key, value, state);
    case ROW.version:
      if (key.length <= ID_BYTES || !isStem(versionStem(key))) return "its key is truncated";
      return judgeVersion(key, value, state);
    case ROW.counter:
      return isSealed(key, value) ? judgeCounters(key, value, buckets) : NOT_WRITTEN;
    case ROW.transaction: {
      const txId = rowTxId(key);
      if (txId > state.txId) return `the index ends at transaction ${state.txId}`;
      return isSealed(key, value) ? undefined : NOT_WRITTEN;
    }
    case ROW.field:
    case ROW.fieldRemoval:
    case ROW.content:
      return undefined;
    default:
      if (kindName(key[0]) === undefined) return "its kind is unknown to this version";
      return Buffer.compare(key, STATE_ROW_KEY) === 0 || isSealed(key, value) ? undefined : NOT_WRITTEN;
  }
}

function judgeVersion(key: Uint8Array, value: Uint8Array, { txId }: IndexState): string | undefined {
  if (!isVersionOf(key, value)) return NOT_WRITTEN;
  const { revision, json } = decodeVersion(checkedVersion(key, value));
  if (revision > txId || revision < 1) return `its revision ${revision} is outside transactions 1 to ${txId}`;
  if (json === undefined) return undefined;
  try {
    JSON.parse(json);
    return undefined;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    return `its document is not JSON: ${error.message}`;
  }
}

/** Yields the keys of documents in a page that belong to no version: neither the newest one nor an older one. */
async function* unusedContents(reader: KvReader, page: readonly KvRow[]): AsyncGenerator<Uint8Array, void> {
  const heads = headsOf(reader);
  const contents = page.filter(([key]) => key[0] === ROW.content).map(([key]) => key);
  const places = contents.map((key) => {
    const { number: revision, stem } = parseNumberedStem(key);
    return { revision, rowKey: Buffer.concat([Buffer.from([ROW.document]), stem]) };
  });
  const newest = await heads.getMany(places.map(({ rowKey }) => rowKey));
  const older = await heads.getMany(places.map(({ rowKey, revision }) => versionRowKey(rowKey, revision)));
  for (const [at, key] of contents.entries()) {
    const value = newest[at];
    const isNewest = value !== undefined && versionValueRevision(value) === places[at]?.revision;
    if (!isNewest && older[at] === undefined) yield key;
  }
}

/** Returns whether bytes consist of the three parts of a key, each followed by the byte that ends it. */
function isStem(stem: Uint8Array): boolean {
  let ends = 0;
  for (const [at, byte] of stem.entries()) if (byte === 0x00 && stem[at + 1] !== 0xff) ends += 1;
  return ends === 3 && stem.at(-1) === 0x00;
}

/** Counts by name, for the comparison with rows that contain the counts and come after what they count. */
class Tally<Count extends string> {
  readonly #none: Record<Count, number>;
  readonly #counts = new Map<string, Record<Count, number>>();

  constructor(none: Record<Count, number>) {
    this.#none = none;
  }

  add(name: string, count: Count): void {
    const counts: Record<Count, number> = madeOnce(this.#counts, name, () => ({ ...this.#none }));
    counts[count] += 1;
  }

  /** Returns the counts, which are then no longer {@link left}. */
  take(name: string): Readonly<Record<Count, number>> {
    const counts = this.#counts.get(name) ?? this.#none;
    this.#counts.delete(name);
    return counts;
  }

  left(): Iterable<string> {
    return this.#counts.keys();
  }
}

type Buckets = Tally<"documents" | "tombstones">;

function judgeCounters(key: Uint8Array, value: Uint8Array, buckets: Buckets): string | undefined {
  const { documents, tombstones } = buckets.take(Buffer.from(key.subarray(1)).toString("utf8"));
  const stored = decodeCounters(key, value);
  if (stored.documents === documents && stored.tombstones === tombstones) return undefined;
  return `it counts ${stored.documents} documents and ${stored.tombstones} deleted keys, but there are ${documents} and ${tombstones}`;
}

type Shards = Tally<"documents" | "places" | "open">;

/** Counts an intact row of a queue by shard, or compares the shard's row with the counts. Returns its problem. */
function judgeQueue(key: Uint8Array, value: Uint8Array, queues: object, shards: Shards): string | undefined {
  switch (key[0]) {
    case ROW.document: {
      const { bucket, namespace } = parseDocumentRowKey(key);
      if (Object.hasOwn(queues, bucket)) shards.add(`${bucket}/${namespace}`, "documents");
      return undefined;
    }
    case ROW.openEntry:
      shards.add(`${queueOf(key)}/${openRowShard(key)}`, "open");
      return undefined;
    case ROW.place:
      shards.add(`${queueOf(key)}/${decodePlace(key, value).shard}`, "places");
      return undefined;
    case ROW.shard: {
      const { documents, places, open } = shards.take(`${queueOf(key)}/${shardNumber(key)}`);
      const shard = decodeShard(key, value);
      if (shard.entries === documents && places === documents && shard.open === open) return undefined;
      return `it counts ${shard.entries} entries and ${shard.open} open ones, but there are ${documents} documents, ${places} places and ${open} open entries`;
    }
    default:
      return undefined;
  }
}

function queueOf(key: Uint8Array): string {
  const bytes = asBuffer(key);
  return bytes.toString("utf8", 1, partEnd(bytes, 1));
}

/**
 * Throws `INDEX_CORRUPT` with the first transaction of the index whose outcome is missing or damaged, unless a policy
 * removed it. This detects the loss of part of a batch, which checksums cannot.
 */
export async function checkTransactions(
  reader: KvReader,
  { txId, log, outcomesAfter }: IndexState,
): Promise<void> {
  let next = outcomesAfter === undefined ? undefined : outcomesAfter + 1;
  for await (const outcomes of readOutcomes(reader, { after: outcomesAfter ?? 0, upTo: txId })) {
    for (const { txId: found } of outcomes) {
      // A log that does not continue another one may begin with a transaction id other than 1.
      const isNext = next === undefined ? found === 1 || found === log.offset + 1 : found === next;
      if (!isNext) throw missing(next ?? 1);
      next = found + 1;
    }
  }
  if ((next ?? log.offset + 1) !== txId + 1) throw missing(next ?? log.offset + 1);
}

function missing(txId: number): CairnError {
  return unusableIndex(`the outcome of transaction ${txId} is missing`);
}
