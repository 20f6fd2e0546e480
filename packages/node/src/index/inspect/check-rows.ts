import type { KvReader } from "@cairn/kv";
import type { IndexState } from "../rows/index-state.ts";
import {
  asKind,
  parseDocumentRowKey,
  ROW,
  STATE_ROW_KEY,
  transactionRowId,
  versionRevision,
  versionStem,
} from "../rows/row-keys.ts";
import { kindName } from "../rows/row-names.ts";
import { decodeCounters, decodeVersion, isVersionValue, VERSION_HEAD } from "../rows/row-values.ts";

/** A row that is not as Cairn writes it. */
export interface RowProblem {
  readonly key: Uint8Array;
  readonly problem: string;
}

/** What was looked through. */
export interface RowCounts {
  readonly rows: number;
  readonly documents: number;
}

/**
 * Reads every row of the index once and yields what is wrong with it: values that cannot be read, revisions and transactions beyond
 * the index's own, counters that do not agree with a full count. Nobody may write meanwhile. Memory: a page of rows, and two numbers
 * a bucket.
 */
export async function* checkRows(
  reader: KvReader,
  state: IndexState,
): AsyncGenerator<RowProblem, RowCounts, void> {
  const buckets = new Buckets();
  let rows = 0;
  for await (const page of reader.range({})) {
    rows += page.length;
    for (const [key, value] of page) {
      const problem = judgeRow(key, value, state, buckets);
      if (problem !== undefined) yield { key, problem };
    }
    // Rows stand in the order of their kinds, so a page without tombstones at its ends has none.
    const tombstones = page.filter(([key]) => key[0] === ROW.tombstone).map(([key]) => key);
    const both = await reader.getMany(tombstones.map((key) => asKind(key, ROW.document)));
    for (const [at, document] of both.entries()) {
      const key = tombstones[at];
      if (document !== undefined && key !== undefined) {
        yield { key, problem: "its key has a document as well" };
      }
    }
  }
  for (const bucket of buckets.uncounted()) {
    yield {
      key: Buffer.from(`n${bucket}`),
      problem: "the bucket has documents or tombstones, but no counters",
    };
  }
  const { documents } = buckets;
  if (documents !== state.documents) {
    const problem = `it says that there are ${state.documents} documents, but there are ${documents}`;
    yield { key: STATE_ROW_KEY, problem };
  }
  return { rows, documents };
}

/** What is wrong with one row; undefined when nothing is. */
function judgeRow(
  key: Uint8Array,
  value: Uint8Array,
  state: IndexState,
  buckets: Buckets,
): string | undefined {
  switch (key[0]) {
    case ROW.document:
    case ROW.tombstone:
      if (!isStem(key.subarray(1))) return "its key is cut short";
      buckets.count(parseDocumentRowKey(key).bucket, key[0]);
      return judgeVersion(value, state, key[0] === ROW.document);
    case ROW.version:
      return judgeVersion(value, state, undefined) ?? judgeVersionKey(key, value);
    case ROW.counter:
      return buckets.judge(Buffer.from(key.subarray(1)).toString("utf8"), value);
    case ROW.transaction: {
      const txId = transactionRowId(key);
      if (txId > state.txId) return `the index ends at transaction ${state.txId}`;
      return value.length < 9 ? "its outcome is cut short" : undefined;
    }
    default:
      return kindName(key[0]) === undefined ? "it is of no kind that this version knows" : undefined;
  }
}

function judgeVersion(
  value: Uint8Array,
  { txId }: IndexState,
  isDocument: boolean | undefined,
): string | undefined {
  if (value.length < VERSION_HEAD) return "its value is cut short";
  if (!isVersionValue(value)) return "its value does not begin as a document's does";
  const { revision, json } = decodeVersion(value);
  if (revision > txId || revision < 1)
    return `its revision ${revision} is not one of transactions 1 to ${txId}`;
  if (isDocument === (json === undefined)) {
    return isDocument ? "it is marked as a deletion" : "it is marked as a document";
  }
  if (json === undefined) return undefined;
  try {
    JSON.parse(json);
    return undefined;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    return `its document is no JSON: ${error.message}`;
  }
}

function judgeVersionKey(key: Uint8Array, value: Uint8Array): string | undefined {
  if (!isStem(versionStem(key))) return "its key is cut short";
  const { revision } = decodeVersion(value);
  return revision === versionRevision(key) ? undefined : `it holds revision ${revision}`;
}

/** Whether bytes are three parts, each with its end (row-keys.ts). */
function isStem(stem: Uint8Array): boolean {
  let ends = 0;
  for (const [at, byte] of stem.entries()) if (byte === 0x00 && stem[at + 1] !== 0xff) ends += 1;
  return ends === 3 && stem.at(-1) === 0x00;
}

/** Documents and tombstones by bucket: both kinds come before the counters. */
class Buckets {
  documents = 0;
  readonly #counts = new Map<string, { documents: number; tombstones: number }>();

  count(bucket: string, kind: typeof ROW.document | typeof ROW.tombstone): void {
    let counts = this.#counts.get(bucket);
    if (counts === undefined) this.#counts.set(bucket, (counts = { documents: 0, tombstones: 0 }));
    if (kind === ROW.document) {
      counts.documents += 1;
      this.documents += 1;
    } else counts.tombstones += 1;
  }

  /** Compares a counters row; each bucket has one. */
  judge(bucket: string, value: Uint8Array): string | undefined {
    const { documents, tombstones } = this.#counts.get(bucket) ?? { documents: 0, tombstones: 0 };
    this.#counts.delete(bucket);
    if (value.length < 16) return "its counters are cut short";
    const told = decodeCounters(value);
    if (told.documents === documents && told.tombstones === tombstones) return undefined;
    return `it says ${told.documents} documents and ${told.tombstones} deleted keys, but there are ${documents} and ${tombstones}`;
  }

  uncounted(): Iterable<string> {
    return this.#counts.keys();
  }
}
