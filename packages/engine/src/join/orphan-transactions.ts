import { createHash } from "node:crypto";
import { isCairnError, type KvOpening, type KvProvider, type KvReader, wait } from "@cairn/kv";
import type { TxId } from "@cairn/client";
import type { LogHistory } from "../backup/log-with-backup.ts";
import { type HeldTransactions, isOfOther } from "../db-dir/quarantine.ts";
import { fileReader, type OpenedIndex, openIndex } from "../index/local-index.ts";
import { firstKept, type IndexState } from "../index/rows/index-state.ts";
import {
  documentRowKey,
  ROW,
  rowsOfKind,
  versionRowKey,
  eventRowOrigin,
  eventRowTime,
} from "../index/rows/row-keys.ts";
import { unsealed } from "../index/rows/row-checksum.ts";
import { readOutcomes } from "../index/rows/outcome-rows.ts";
import { checkedVersion, decodeVersion } from "../index/rows/version-values.ts";
import type { LogIdentity } from "../log/log-identity.ts";
import { isQueueOperation } from "../transactions/queue-operation.ts";
import { qualifiedKey } from "@cairn/text";
import { commonWithLog, type FilledIndex, type SharedTransactions } from "./common-history.ts";
import { withRecorded } from "./held-transactions.ts";
import {
  hashOfOperations,
  type History,
  messageName,
  readContentNames,
  type SoughtTransaction,
} from "./same-transactions.ts";

interface Orphans extends SharedTransactions {
  /** The transactions after this one are listed. It is `txId`, the last one that both share, or a later one. */
  readonly after: TxId;
  readonly isOfOther: boolean;
  /** The first transaction whose outcome the index has kept; 0 if it has all outcomes. */
  readonly kept: TxId;
  readonly transactions: AsyncIterable<OrphanTransaction>;
}

/** Compares an index with a log. Transactions up to `listed` are not listed, nor are any that both share. */
export async function findOrphans(
  index: FilledIndex,
  held: Partial<HeldTransactions>,
  log: LogHistory,
  identity: LogIdentity,
  listed: TxId,
): Promise<Orphans> {
  const { kv, state } = index;
  const common = await commonWithLog(kv, state, log, identity);
  const shared = await withRecorded(index, common, held, identity);
  const { txId } = shared;
  const after = Math.max(txId, listed);
  const transactions = orphanTransactions(kv, state, txId, after);
  return { ...shared, after, isOfOther: isOfOther({ shared: txId }), kept: firstKept(state), transactions };
}

export interface OrphanTransaction extends SoughtTransaction {
  readonly txId: TxId;
  readonly id: string;
  /** The id under which it can be loaded if other content has `id`. The two are equal if it has no id of its own. */
  readonly derivedId: string;
  /** The transaction as one line of JSON; undefined if it no longer has any effect. */
  readonly line: string | undefined;
  /** The line with `derivedId`. */
  readonly renamed: string | undefined;
  /** The keys whose documents were evicted later. Puts of these keys are omitted. */
  readonly evicted: readonly string[];
  /**
   * The number of omitted preconditions, whose revisions were lost with the end of the log. Operations with an epoch of
   * a queue are omitted as a whole.
   */
  readonly unmatched: number;
}

interface LoggedHeader {
  readonly ops: readonly (readonly [
    op: string,
    bucket: string,
    key: string,
    last?: number | object | null,
  ])[];
  readonly id?: string;
}

/**
 * Yields the committed transactions of an index after `shared`, in order, reconstructed from the index's rows. Aborted
 * transactions and duplicates had no effect and are omitted. Each transaction has an id, its own or one derived from
 * its content, so that loading it twice applies it once. Omits transactions up to `after`, which must not be before
 * `shared`.
 */
export async function* orphanTransactions(
  kv: KvReader,
  state: IndexState,
  shared: TxId,
  after: TxId = shared,
): AsyncGenerator<OrphanTransaction, void, void> {
  const contents = await readContents(kv, state, shared);
  for await (const outcomes of readOutcomes(kv, { after, upTo: state.txId })) {
    for (const { txId, outcome } of outcomes) {
      const { kind, time, mark, text, shards = [] } = outcome;
      // A birth record has no operations.
      if (kind !== "committed" || text === "") continue;
      const header = JSON.parse(text) as LoggedHeader;
      const orphan = await reconstruct(kv, header, { txId, time, shared, shards }, contents);
      const submitted = await readContentNames(kv, header.id === undefined ? [] : [{ txId, id: header.id }]);
      yield {
        ...orphan,
        names: [messageName(mark, text), ...submitted.values(), ...orphan.names],
        weakNames: [mark, hashOfOperations(text), ...orphan.weakNames],
      };
    }
  }
}

/** How long an index in quarantine may be in use (ms), and the pause before it is opened again. */
const IN_USE_MS = 5_000;
const OPEN_AGAIN_MS = 50;

/**
 * Opens an index in quarantine. A running node opens it for a moment now and then, to see which of its transactions were
 * loaded again, and a command while it prints them.
 */
export async function openUnlocked(
  provider: KvProvider,
  live: string,
  opening?: KvOpening,
): Promise<OpenedIndex> {
  const end = performance.now() + IN_USE_MS;
  for (;;) {
    try {
      return await openIndex(provider, live, opening);
    } catch (error) {
      if (!isCairnError(error, "INDEX_LOCKED") || performance.now() >= end) throw error;
      await wait(OPEN_AGAIN_MS);
    }
  }
}

/** The transactions of an index in quarantine after those that it shares with the log. It is open while they are read. */
export function historyOfOrphans(provider: KvProvider, live: string, shared: TxId): History {
  return async function* read() {
    const { kv, state } = await openUnlocked(fileReader(provider), live);
    try {
      if (state === undefined) return;
      for await (const orphan of orphanTransactions(kv, state, shared)) yield [orphan];
    } finally {
      await kv.close();
    }
  };
}

async function reconstruct(
  kv: KvReader,
  header: LoggedHeader,
  origin: {
    readonly txId: TxId;
    readonly time: number;
    readonly shared: TxId;
    readonly shards: readonly number[];
  },
  contents: Contents,
): Promise<OrphanTransaction> {
  const { txId, shared, shards } = origin;
  const ops: string[] = [];
  /** The lines of the message that loading stores. */
  const logged: string[] = [];
  const documents: string[] = [];
  const evicted: string[] = [];
  let unmatched = 0;
  let writes = 0;
  let events = 0;
  let enqueued = 0;
  for (const op of header.ops) {
    const [kind, bucket, key, last = null] = op;
    if (kind === "event" || kind === "configure") {
      const content =
        kind === "event" ? contents.events.get(`${txId}-${events}`) : contents.policies.get(txId);
      if (kind === "event") events += 1;
      // Events removed because of their limits, and policies that have been replaced, are omitted.
      if (content === undefined) continue;
      writes += 1;
      ops.push(`["${kind}",${content}]`);
      logged.push(`["${kind}"]`);
      documents.push(asLoaded(content));
      continue;
    }
    // Epochs are transactions of the lost log, too, so of the writes to queues only new entries can be repeated.
    const isPast = typeof last === "number" && last > shared;
    const isOfEpoch =
      (isQueueOperation(kind) && kind !== "enqueue") || (typeof last === "object" && last !== null);
    if ((kind === "match" && isPast) || isOfEpoch) {
      unmatched += 1;
      continue;
    }
    const isWrite = kind === "put" || kind === "enqueue";
    const place = kind === "enqueue" ? `${shards[enqueued++]}/${key}` : key;
    const document = isWrite ? await documentOf(kv, bucket, place, txId) : undefined;
    if (isWrite && document === undefined) {
      evicted.push(`${bucket} ${qualifiedKey(place)}`);
      continue;
    }
    if (kind !== "match") writes += 1;
    logged.push(JSON.stringify(op));
    if (document !== undefined) documents.push(asLoaded(document));
    // The document's JSON is copied verbatim, because parsing could change it.
    ops.push(document === undefined ? JSON.stringify(op) : `${JSON.stringify(op).slice(0, -1)},${document}]`);
  }
  const text = `[${ops.join(",")}]`;
  const isWhole = evicted.length === 0 && unmatched === 0;
  // Derived from the content, all nodes and backups have the same id, even from a later, continuing log.
  const hash = createHash("sha256").update(`${txId}\n${origin.time}\n${text}`).digest("hex");
  const derivedId = `orphan-${txId}-${hash.slice(0, 32)}`;
  const id = (isWhole ? header.id : undefined) ?? derivedId;
  const lineOf = (as: string): string | undefined =>
    writes === 0 ? undefined : `{"ops":${text},"id":${JSON.stringify(as)}}`;
  const operations = `{"ops":[${logged.join(",")}],"id":${JSON.stringify(id)}}`;
  return {
    txId,
    id,
    derivedId,
    line: lineOf(id),
    renamed: lineOf(derivedId),
    evicted,
    unmatched,
    names: [derivedId, hashOfOperations([operations, ...documents].join("\n"))],
    weakNames: [hashOfOperations(operations)],
  };
}

/** Programs that write to the log themselves may format JSON in another way. */
function asLoaded(json: string): string {
  return JSON.stringify(JSON.parse(json));
}

/** Stored separately from transactions: events by transaction and position, policies by transaction. */
interface Contents {
  readonly events: ReadonlyMap<string, string>;
  readonly policies: ReadonlyMap<TxId, string>;
}

async function readContents(kv: KvReader, { policies }: IndexState, shared: TxId): Promise<Contents> {
  const events = new Map<string, string>();
  for await (const rows of kv.range(rowsOfKind(ROW.event))) {
    for (const [key, value] of rows) {
      const { txId, place } = eventRowOrigin(key);
      if (txId > shared) events.set(`${txId}-${place}`, withTime(unsealed(key, value).toString("utf8"), key));
    }
  }
  const last = policies === undefined ? [] : [[policies.revision, JSON.stringify(policies.value)] as const];
  return { events, policies: new Map(last) };
}

/** Returns an event with its time. An event without a time has that of its transaction, which loading would not preserve. */
function withTime(event: string, key: Uint8Array): string {
  const { time } = JSON.parse(event) as { time?: string };
  return time === undefined ? `${event.trimEnd().slice(0, -1)},"time":"${eventRowTime(key)}"}` : event;
}

/** Returns the document that transaction `txId` put: the key's current one, or a superseded version. */
async function documentOf(
  kv: KvReader,
  bucket: string,
  key: string,
  txId: TxId,
): Promise<string | undefined> {
  const rowKey = documentRowKey(bucket, qualifiedKey(key));
  const versionKey = versionRowKey(rowKey, txId);
  const [document, version] = await kv.getMany([rowKey, versionKey]);
  for (const value of [checkedVersion(rowKey, document), checkedVersion(versionKey, version)]) {
    if (value === undefined) continue;
    const { revision, json } = decodeVersion(value);
    if (revision === txId) return json;
  }
  return undefined;
}
