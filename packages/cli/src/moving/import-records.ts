import { randomBytes } from "node:crypto";
import { reasonWords } from "@cairn/client/protocol";
import { type CairnError, inParallel, unlessFailed } from "@cairn/kv";
import type { BucketSummary } from "@cairn/client";
import type { NdjsonLine } from "@cairn/text";
import { documentRequest } from "../requests/documents.ts";
import { CHUNK_BYTES, type NdjsonChunk } from "../requests/ndjson-chunks.ts";
import type { NodeClient } from "../requests/node-client.ts";
import { sendChunks, type SendProgress } from "../requests/send-chunks.ts";
import { type ImportedDocument, type ImportRecord, isRefusal, type ImportRefusal } from "./import-record.ts";

export interface ImportProgress {
  readonly read: number;
  readonly written: number;
  /** The number of documents that the node had already. */
  readonly unchanged: number;
  /** The number of imported records that expire in the source. */
  readonly expiring: number;
  readonly lastTxId: number | undefined;
}

export interface ImportRecordsOptions {
  readonly signal: AbortSignal;
  readonly onProgress: (progress: ImportProgress) => void;
  readonly onRetry: (error: CairnError) => void;
  readonly onRefused: (record: ImportRecord, refusal: ImportRefusal) => Promise<void>;
}

/** The maximum number of lines of a chunk. Not more than a node names if all of them are aborted. */
const MAX_CHUNK_LINES = 5_000;
const CONCURRENT_READS = 16;

/**
 * Puts each document whose content differs from the node's, so an interrupted import can simply be repeated. The ids
 * are new in each run: an id from the content would keep a document from returning to an earlier content.
 */
export async function importRecords(
  node: NodeClient,
  source: AsyncIterable<readonly ImportRecord[]>,
  options: ImportRecordsOptions,
): Promise<ImportProgress> {
  const path = "/api/v1/buckets";
  const buckets = await node.json<BucketSummary[]>({ path, query: { linearizable: true } });
  // Their documents must be compared. They include everything that any earlier run has written.
  const filled = new Set(buckets.filter(({ documents }) => documents > 0).map(({ name }) => name));
  const counts = { read: 0, unchanged: 0, expiring: 0 };
  const records = new Map<number, ImportRecord>();
  let aborted = 0;
  let sent: SendProgress = { transactions: 0, lastTxId: undefined, nextLine: 1 };
  const progress = (): ImportProgress => ({
    ...counts,
    written: sent.transactions - aborted,
    lastTxId: sent.lastTxId,
  });
  const chunks = recordChunks(source, {
    counts,
    records,
    acknowledged: () => sent,
    unchanged: async (document, minTx) =>
      filled.has(document.bucket) && (await isUnchanged(node, document, minTx)),
    onPage: () => options.onProgress(progress()),
    onRefused: options.onRefused,
  });
  const refuse = async (line: number, code: string, message: string): Promise<void> => {
    const record = records.get(line);
    if (record === undefined) throw new Error(`no record has line ${line}`);
    if (record.expires === true) counts.expiring -= 1;
    await options.onRefused(record, { code, message });
  };
  sent = await sendChunks(node, chunks, {
    fromLine: 1,
    signal: options.signal,
    onProgress: (now) => {
      sent = now;
      options.onProgress(progress());
    },
    onRetry: options.onRetry,
    onRefused: (line, { code, message }) => refuse(line, code, message.replace(/^Line \d+: /, "")),
    // A put without a condition is aborted only by the rules of a bucket, such as those of a queue.
    onAborted: async (count, lines) => {
      aborted += count;
      for (const { line, reason } of lines)
        await refuse(line, "CONFLICT", `The transaction was aborted: ${reasonWords(reason)}.`);
    },
  });
  return progress();
}

async function isUnchanged(
  node: NodeClient,
  { bucket, namespace, name, json }: ImportedDocument,
  minTx: number | undefined,
): Promise<boolean> {
  const { path, query } = documentRequest(bucket, `${namespace}/${name}`);
  const document = node.json({ path, query: { ...query, "min-tx": minTx } });
  return JSON.stringify(await unlessFailed(document, "NOT_FOUND", undefined)) === json;
}

interface ChunkingOptions {
  readonly counts: { read: number; unchanged: number; expiring: number };
  /** Receives the records of the lines that are not acknowledged, by their numbers. */
  readonly records: Map<number, ImportRecord>;
  /** Returns what the node has acknowledged: all lines before `nextLine`, up to the transaction `lastTxId`. */
  readonly acknowledged: () => SendProgress;
  /** Returns whether the node has the document, as of transaction `minTx` or a later one. */
  readonly unchanged: (document: ImportedDocument, minTx: number | undefined) => Promise<boolean>;
  readonly onPage: () => void;
  readonly onRefused: ImportRecordsOptions["onRefused"];
}

/** Turns records into chunks of transactions, one for each document that has to be written. */
async function* recordChunks(
  source: AsyncIterable<readonly ImportRecord[]>,
  { counts, records, acknowledged, unchanged, onPage, onRefused }: ChunkingOptions,
): AsyncGenerator<NdjsonChunk, void, void> {
  const run = `import-${randomBytes(8).toString("hex")}`;
  // A source may return a key more than once. While an earlier value is on its way, the node's value says nothing.
  const underway = new Map<string, number>();
  let number = 0;
  let lines: NdjsonLine[] = [];
  let size = 0;
  for await (const page of source) {
    const { lastTxId, nextLine } = acknowledged();
    for (const [address, line] of underway) if (line < nextLine) underway.delete(address);
    for (const line of records.keys()) if (line < nextLine) records.delete(line);
    const same = new Set<ImportRecord>();
    await inParallel(page, CONCURRENT_READS, async (record) => {
      if (!isRefusal(record.result) && (await unchanged(record.result, lastTxId))) same.add(record);
    });
    for (const record of page) {
      counts.read += 1;
      const { result } = record;
      if (isRefusal(result)) {
        await onRefused(record, result);
        continue;
      }
      if (record.expires === true) counts.expiring += 1;
      const address = `${result.bucket}/${result.namespace}/${result.name}`;
      if (same.has(record) && !underway.has(address)) {
        counts.unchanged += 1;
        continue;
      }
      number += 1;
      const key = JSON.stringify(`${result.namespace}/${result.name}`);
      const put = `["put",${JSON.stringify(result.bucket)},${key},${result.json}]`;
      const bytes = Buffer.from(`{"ops":[${put}],"id":"${run}-${number}"}`);
      const isFull = size + bytes.length >= CHUNK_BYTES || lines.length === MAX_CHUNK_LINES;
      if (lines.length > 0 && isFull) {
        yield lines;
        [lines, size] = [[], 0];
      }
      lines.push({ number, bytes });
      records.set(number, record);
      size += bytes.length + 1;
      underway.set(address, number);
    }
    onPage();
  }
  if (lines.length > 0) yield lines;
}
