import { CairnError } from "@cairn/kv";
import type {
  AnyOperation,
  ClusterStatus,
  DocumentKey,
  NodeStatus,
  Phase,
  Transaction,
  TxId,
  TxOutcome,
} from "@cairn/client";
import {
  clusterStatus,
  type ListQuery,
  type NodeApi,
  type NodeReadiness,
  type ReadOptions,
  type DocumentVersion,
  type FollowEvent,
  type Watch,
  type WatchEvent,
  type WatchQuery,
  type SubmittedTransaction,
  type CommitResult,
  validTransaction,
} from "@cairn/engine";
import { passedOn } from "@cairn/engine/src/cluster/peer-messages";
import { emptyStatus } from "@cairn/engine/testing";
import { withFindings } from "@cairn/engine/src/findings/node-findings";
import { splitKey } from "@cairn/client/protocol";
import { parseDocumentKey } from "@cairn/text";
import { madePosition } from "./positions.ts";

interface Entry extends DocumentKey {
  readonly versions: DocumentVersion[];
}

/** A node without a log and an index: all of NodeApi is in memory, for tests of the HTTP interface, not of storage. */
export class MemoryNode implements NodeApi {
  readonly id = "node-1";
  readonly version = "0.0.0-test";
  phase: Phase = "ready";
  /** The error with which every submission fails, if it is set. */
  submitError: Error | undefined;
  /** Awaited before a submission is stored. */
  beforeSubmit: (transaction: Transaction<AnyOperation>) => Promise<void> = () => Promise.resolve();
  indexing = true;
  /** The number of submissions that failed with `submitError`. */
  refused = 0;
  readonly submitted: Transaction<AnyOperation>[] = [];
  progress: NodeStatus["progress"] = null;
  failure: NodeStatus["failure"] = null;
  checkpointRound: NodeApi["checkpoint"] | undefined;
  closed = false;
  lag: number | undefined;
  /** The events of a watch for a query. */
  watched: (query: WatchQuery) => AsyncIterable<readonly WatchEvent[]> = async function* () {};
  /** The buckets of the indexes of one's own. */
  ownIndexes: Readonly<Record<string, readonly string[] | undefined>> = { pods: ["pods"], all: undefined };
  /** By default, the row that answers a query is the query. */
  queryIndex: NodeApi["queryIndex"] = async (name, { text, args }) => {
    this.indexBuckets(name);
    const row = JSON.stringify([name, text, args]);
    return { txId: this.#txId, columns: ["name", "text", "args"], rows: [row], more: false };
  };
  /** The recorded writers of the transactions. */
  readonly writers = new Map<TxId, string | null>();
  #txId = 1;
  readonly #entries = new Map<string, Entry>();
  readonly #outcomes = new Map<TxId, TxOutcome>();
  readonly #waiters = new Set<() => void>();

  async readiness(): Promise<NodeReadiness> {
    const { phase, progress, failure, lag } = this;
    return { phase, progress, failure, lag };
  }

  async submit(
    given: Transaction<AnyOperation>,
    { by }: { readonly by?: string } = {},
  ): Promise<SubmittedTransaction> {
    const transaction = validTransaction(given);
    await this.beforeSubmit(transaction);
    if (this.submitError !== undefined) {
      this.refused += 1;
      throw this.submitError;
    }
    this.submitted.push(transaction);
    this.#txId += 1;
    const txId = this.#txId;
    this.writers.set(txId, by ?? null);
    if (this.indexing) this.#apply(txId, transaction);
    for (const wake of this.#waiters) wake();
    return { txId, checksum: 0 };
  }

  #apply(txId: TxId, { ops }: Transaction<AnyOperation>): void {
    const txTime = new Date(Date.UTC(2026, 0, 1) + txId).toISOString();
    const lost = ops.find((op) => op[0] === "match" && this.#revision(op[1], op[2]) !== op[3]);
    if (lost !== undefined) {
      const revision = this.#revision(String(lost[1]), String(lost[2])) ?? null;
      this.#outcomes.set(txId, {
        txId,
        txTime,
        position: madePosition(txId),
        committed: false,
        reason: `CONFLICT: ${lost[1]} ${lost[2]} is ${revision === null ? "absent" : `at revision ${revision}`}`,
      });
      return;
    }
    for (const op of ops) {
      if (op[0] !== "put" && op[0] !== "delete" && op[0] !== "evict") continue;
      const key = parseDocumentKey(op[1], op[2]);
      const versions = this.#entry(key).versions;
      if (op[0] === "put") {
        versions.unshift({ revision: txId, txTime, deleted: false, json: JSON.stringify(op[3]) });
      } else if (versions[0]?.deleted === false) versions.unshift({ revision: txId, txTime, deleted: true });
    }
    this.#outcomes.set(txId, { txId, txTime, position: madePosition(txId), committed: true });
  }

  #entry(key: DocumentKey): Entry {
    const id = JSON.stringify([key.bucket, key.namespace, key.name]);
    const entry = this.#entries.get(id) ?? { ...key, versions: [] };
    this.#entries.set(id, entry);
    return entry;
  }

  #revision(bucket: string, key: string): TxId | null {
    const newest = this.#entry(parseDocumentKey(bucket, key)).versions[0];
    return newest === undefined || newest.deleted ? null : newest.revision;
  }

  /** The number of unfinished waits. */
  get waiting(): number {
    return this.#waiters.size;
  }

  indexed(): Promise<TxId> {
    return Promise.resolve(this.#txId);
  }

  async await(
    transaction: SubmittedTransaction | TxId,
    options: { timeoutMs?: number } = {},
  ): Promise<TxOutcome> {
    const txId = typeof transaction === "number" ? transaction : transaction.txId;
    const deadline = AbortSignal.timeout(options.timeoutMs ?? 30_000);
    for (;;) {
      const outcome = this.#outcomes.get(txId);
      if (outcome !== undefined) return outcome;
      if (txId <= 1) throw new CairnError("NOT_FOUND", `The index has no transaction ${txId}.`);
      if (deadline.aborted)
        throw new CairnError("TX_TIMEOUT", `Transaction ${txId} was not indexed in time.`);
      await new Promise<void>((resolve) => {
        const wake = (): void => {
          this.#waiters.delete(wake);
          deadline.removeEventListener("abort", wake);
          resolve();
        };
        this.#waiters.add(wake);
        deadline.addEventListener("abort", wake);
      });
    }
  }

  async commitResult(
    transaction: SubmittedTransaction | TxId,
    options: { timeoutMs?: number } = {},
  ): Promise<CommitResult> {
    return { outcome: await this.await(transaction, options), replaced: undefined };
  }

  async cluster(): Promise<ClusterStatus> {
    const identity = {
      instance: "i",
      node: this.id,
      host: "h",
      pid: 1,
      startedAt: "2026-11-20T06:00:00.000Z",
    };
    const status = passedOn(await this.status());
    const { name, id, lastTxId } = status.log;
    const view = {
      log: { name, id, lastTxId },
      peers: [{ ...identity, status }],
      silent: [],
      past: undefined,
    };
    return { ...clusterStatus(view, 0), askedBy: { node: this.id, instance: "i" } };
  }

  outcome(txId: TxId): Promise<TxOutcome | undefined> {
    return Promise.resolve(this.#outcomes.get(txId));
  }

  writerOf(txId: TxId): Promise<string | null | undefined> {
    return Promise.resolve(this.writers.get(txId));
  }

  async prepareRead({ minTx = 0 }: ReadOptions): Promise<void> {
    if (minTx > this.#txId) await this.await(minTx);
  }

  async #allow(options: ReadOptions): Promise<void> {
    if (this.phase !== "ready" && options.stale !== true) {
      throw new CairnError("NOT_READY", `The node is ${this.phase}.`);
    }
    if (options.minTx !== undefined && options.minTx > this.#txId) {
      await this.await(
        options.minTx,
        options.timeoutMs === undefined ? {} : { timeoutMs: options.timeoutMs },
      );
    }
  }

  async get(...[key, options = {}]: Parameters<NodeApi["get"]>): ReturnType<NodeApi["get"]> {
    await this.#allow(options);
    options.onAsOf?.(this.#txId);
    return visible(this.#entry(key), options.asOf);
  }

  async list(query: ListQuery): ReturnType<NodeApi["list"]> {
    await this.#allow(query);
    const start = query.cursor === undefined ? 0 : Number(query.cursor.split("<")[1]);
    const { namespace, prefix = "", from, to, limit = 100 } = query;
    const end = (key: string): string =>
      keyOrder(namespace === undefined ? splitKey(key) : { namespace, name: key });
    const documents = [...this.#entries.values()]
      .filter((entry) => entry.bucket === query.bucket && entry.name.startsWith(prefix))
      .filter((entry) => namespace === undefined || entry.namespace === namespace)
      .filter((entry) => from === undefined || order(keyOrder(entry), end(from)) >= 0)
      .filter((entry) => to === undefined || order(keyOrder(entry), end(to)) < 0)
      .flatMap((entry) => visible(entry, query.asOf) ?? [])
      .toSorted((a, b) => order(keyOrder(a), keyOrder(b)));
    const more = documents.length > start + limit;
    return {
      txId: this.#txId,
      position: madePosition(this.#txId),
      documents: documents.slice(start, start + limit),
      // The cursor contains characters that must be escaped in an address and in a header.
      ...(more ? { cursor: `"&+> é<${start + limit}` } : {}),
    };
  }

  async history(...[key, options = {}]: Parameters<NodeApi["history"]>): ReturnType<NodeApi["history"]> {
    await this.#allow(options);
    options.onAsOf?.(this.#txId);
    const { versions } = this.#entry(key);
    const start = Number(options.cursor ?? 0);
    const end = start + (options.limit ?? 100);
    return {
      versions: versions.slice(start, end),
      ...(end < versions.length ? { cursor: String(end) } : {}),
    };
  }

  watch(query: WatchQuery = {}): Watch {
    const batches = (): AsyncIterable<readonly WatchEvent[]> => this.watched(query);
    return {
      batches,
      async *[Symbol.asyncIterator]() {
        for await (const events of batches()) yield* events;
      },
    };
  }

  async *follow(): AsyncGenerator<FollowEvent, void> {}

  buckets(): ReturnType<NodeApi["buckets"]> {
    return Promise.resolve({ txId: this.#txId, buckets: [] });
  }

  queues(): ReturnType<NodeApi["queues"]> {
    return Promise.resolve({ txId: this.#txId, queues: [QUEUE] });
  }

  queue(): ReturnType<NodeApi["queue"]> {
    return Promise.resolve({ txId: this.#txId, queue: QUEUE });
  }

  openEntries(): ReturnType<NodeApi["openEntries"]> {
    const position = madePosition(this.#txId);
    return Promise.resolve({ txId: this.#txId, position, entries: [], cursor: undefined });
  }

  entry(queue: string, name: string): ReturnType<NodeApi["entry"]> {
    const document = { bucket: queue, namespace: "0", name, revision: 2, json: "{}" };
    const place = { shard: 0, isOpen: true, txId: 2, at: 0, moved: { from: 1, txId: 3 } };
    return Promise.resolve({ txId: this.#txId, entry: { document, place } });
  }

  events(): ReturnType<NodeApi["events"]> {
    return Promise.resolve({ txId: this.#txId, events: [] });
  }

  evictions(): ReturnType<NodeApi["evictions"]> {
    return Promise.resolve({ evictions: [] });
  }

  policies(): ReturnType<NodeApi["policies"]> {
    return Promise.resolve({ txId: this.#txId, revision: null, policies: {}, file: null });
  }

  indexBuckets(name: string): readonly string[] | undefined {
    if (Object.hasOwn(this.ownIndexes, name)) return this.ownIndexes[name];
    throw new CairnError("NOT_FOUND", `There is no index ${name}.`);
  }

  digest(): ReturnType<NodeApi["digest"]> {
    return Promise.resolve({ txId: this.#txId, digest: "sha256:00" });
  }

  checkpoints(): ReturnType<NodeApi["checkpoints"]> {
    const unverified = { durationMs: 412, verifiedAt: null, verifiedBy: null, kept: null };
    return Promise.resolve([{ ...CHECKPOINT, ...unverified }]);
  }

  verifyCheckpoint(name: string = CHECKPOINT.name): ReturnType<NodeApi["verifyCheckpoint"]> {
    if (name !== CHECKPOINT.name) return Promise.reject(new CairnError("CHECKPOINT_NOT_FOUND", "None."));
    const { txId, takenAt: verifiedAt, node } = CHECKPOINT;
    return Promise.resolve({ name, txId, verifiedAt, node, digest: "sha256:00" });
  }

  checkpoint(): ReturnType<NodeApi["checkpoint"]> {
    if (this.checkpointRound !== undefined) return this.checkpointRound();
    return { begun: Promise.resolve(), done: Promise.resolve({ checkpoint: CHECKPOINT }) };
  }

  metrics(): Promise<string> {
    return Promise.resolve("cairn_node_ready 1\n");
  }

  status(): Promise<NodeStatus> {
    const { id: node, version, phase, progress, failure } = this;
    const empty = emptyStatus();
    const facts = {
      ...empty,
      node,
      version,
      phase,
      progress,
      failure,
      log: {
        ...empty.log,
        name: "cairn",
        location: "nats://127.0.0.1:4222",
        id: "log-1",
        firstTxId: 1,
        lastTxId: this.#txId,
        reachable: true,
        exists: true,
      },
      index: {
        ...empty.index,
        txId: this.#txId,
        documents: this.#entries.size,
        bytes: 4096,
        version: 1,
        lag: 0,
      },
      join: { ...empty.join, readyAfterMs: 12 },
      resources: RESOURCES,
    };
    return Promise.resolve(withFindings(facts, 0));
  }

  close(): Promise<void> {
    this.closed = true;
    return Promise.resolve();
  }
}

/** What a MemoryNode reports to use. */
export const RESOURCES: NodeStatus["resources"] = {
  uptimeMs: 1,
  memoryBytes: 1,
  processorMs: 1,
  diskFreeBytes: 2 ** 40,
  diskTotalBytes: 2 ** 40,
};

/** The only queue of a MemoryNode. */
const QUEUE = {
  name: "deliveries",
  policy: { shards: 4, cap: 100, terminal: { state: ["delivered"] }, lease: "PT30S" },
  entries: 3,
  open: 2,
  spare: 2,
  shards: [
    {
      shard: 0,
      state: "active" as const,
      entries: 3,
      open: 2,
      epoch: 7,
      holder: { as: "director-a", until: "2026-11-20T06:12:26.123Z" },
    },
    { shard: 1, state: "retiring" as const, entries: 0, open: 0, epoch: null, holder: null },
  ],
};

/** The only checkpoint of a MemoryNode. */
export const CHECKPOINT = {
  name: "checkpoint-1000-2026-11-20T06-00-00.000Z-1f3a9c0e",
  txId: 1000,
  takenAt: "2026-11-20T06:00:00.000Z",
  bytes: 81_920,
  node: "node-1",
  logId: "log-1",
  documents: 300,
};

function visible(
  { bucket, namespace, name, versions }: Entry,
  asOf: NonNullable<Parameters<NodeApi["get"]>[1]>["asOf"],
): Awaited<ReturnType<NodeApi["get"]>> {
  const version = versions.find(({ revision, txTime }) => {
    if (asOf === undefined) return true;
    return "txId" in asOf ? revision <= asOf.txId : txTime <= asOf.time;
  });
  if (version?.json === undefined) return undefined;
  return { bucket, namespace, name, revision: version.revision, json: version.json };
}

function keyOrder({ namespace, name }: { readonly namespace: string; readonly name: string }): string {
  return `${namespace}\0${name}`;
}

function order(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}
