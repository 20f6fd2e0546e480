import type { KvOperation } from "@cairn/kv";
import type { Json, Policies, TxId } from "@cairn/client";
import { splitKey } from "@cairn/client/protocol";
import type { IndexedMessage } from "./batches.ts";
import { collectEvicted } from "./evicted-entries.ts";
import { QueueState } from "./queue-state.ts";
import type { KeyState, KeyStates } from "./key-states.ts";
import { Retirement } from "./retirement.ts";
import { type QueueRule, activePolicies, appliesTo } from "../policies/active-policies.ts";
import { reconfigurationProblem, QueueTransaction } from "../queues/queue-transaction.ts";
import type { IndexState } from "../rows/index-state.ts";
import { type EntryPlace, type Shard, shardOfNamespace } from "../rows/queue-rows.ts";
import { ownMember, madeOnce } from "@cairn/text";
import { asHold } from "../../transactions/queue-operation.ts";
import type { LoggedOperation, LoggedTransaction } from "../../transactions/transaction-codec.ts";

/** The shards of queues after a batch, from which the next batch continues without reading them. */
export interface KnownShards {
  readonly txId: TxId;
  readonly shards: ReadonlyMap<string, ReadonlyMap<number, Shard>>;
}

/** The effects of a transaction on queues, which take place only if it commits. */
export interface QueuePlan {
  /** The reason why the transaction is aborted; undefined if the rules of queues allow it. */
  readonly reason?: string;
  /** The shards of the enqueued entries, in the order of the operations. */
  readonly shards: readonly number[];
  /** The keys that operations on queues write, by the operation's place in the transaction. */
  readonly writes: ReadonlyMap<number, QueueWriteKeys>;
  readonly evicted: ReadonlySet<KeyState>;
  readonly drafts: ReadonlyMap<string, QueueTransaction>;
  readonly retired: readonly RetiredShard[];
}

/** The key that an operation puts and, if it moves an entry, the key that it deletes. */
export interface QueueWriteKeys {
  readonly to: KeyState;
  readonly from?: KeyState;
}

type RetiredShard = NonNullable<IndexState["retiring"]>[number];

const NO_SHARDS: KnownShards["shards"] = new Map();

export class BatchQueues {
  readonly #before: IndexState;
  readonly #known: KnownShards["shards"];
  readonly #rules: ReadonlyMap<string, QueueRule>;
  readonly #keys: KeyStates;
  readonly #queues = new Map<string, QueueState>();
  /** The keys of entries that operations move, or evict by another key, by the message's place in the batch. */
  readonly #others = new Map<number, KeyState[]>();
  readonly #retirement: Retirement | undefined;
  #retiring: readonly RetiredShard[];

  private constructor(before: IndexState, keys: KeyStates, known: KnownShards | undefined) {
    this.#before = before;
    this.#known = known?.txId === before.txId ? known.shards : NO_SHARDS;
    this.#rules = activePolicies(before).queues;
    this.#keys = keys;
    this.#retiring = before.retiring ?? [];
    const [first] = this.#retiring;
    this.#retirement = first && new Retirement(first, keys);
  }

  /**
   * Loads the rows of queues that the batch requires. Returns undefined if there are no queues and no operations that
   * concern them. Collects keys, which the caller must load. `known` contains the shards after an earlier batch.
   */
  static async load(
    messages: readonly IndexedMessage[],
    before: IndexState,
    keys: KeyStates,
    known?: KnownShards,
  ): Promise<BatchQueues | undefined> {
    const isConcerned = messages.some(
      ({ decoded }) => decoded.kind === "transaction" && decoded.concernsQueues,
    );
    if (!isConcerned && activePolicies(before).queues.size === 0) return undefined;
    const batch = new BatchQueues(before, keys, known);
    for (const [at, { decoded }] of messages.entries()) {
      if (decoded.kind !== "transaction") continue;
      for (const operation of decoded.ops) batch.#collect(operation, at);
    }
    const [retiring] = batch.#retiring;
    if (retiring !== undefined) batch.#queue(retiring.queue);
    await Promise.all(
      [...batch.#queues.values()].map((queue) => queue.load(keys.reader, batch.#known.get(queue.name))),
    );
    // A transaction that evicts is a batch of its own.
    for (const queue of batch.#queues.values()) batch.#collectDocuments(queue);
    return batch;
  }

  /**
   * Collects the other keys of the entries that the batch may evict, which the caller must load. The counters of their
   * buckets must have been loaded.
   */
  async collectEvicted(): Promise<void> {
    for (const queue of this.#queues.values())
      for (const entry of queue.evicted.keys())
        queue.evicted.set(entry, await collectEvicted(queue, entry, this.#keys));
  }

  /**
   * Returns the keys from which and to which the message at a place in the batch moves entries, and those with the
   * documents of entries that it evicts.
   */
  others(at: number): readonly KeyState[] {
    return this.#others.get(at) ?? [];
  }

  concerns({ ops, concernsQueues }: LoggedTransaction): boolean {
    return concernsQueues || ops.some(({ bucket }) => this.#rules.has(bucket));
  }

  /** Returns the effects of a transaction, without applying them. Reads the keys of entries that it enqueues. */
  async plan({ ops }: LoggedTransaction, txId: TxId, time: number): Promise<QueuePlan> {
    const drafts = new Map<string, QueueTransaction>();
    const draftOf = (name: string): QueueTransaction | undefined => {
      const rule = this.#rules.get(name);
      let draft = drafts.get(name);
      if (draft !== undefined || rule === undefined) return draft;
      draft = new QueueTransaction(this.#queue(name), rule, { txId, time });
      drafts.set(name, draft);
      return draft;
    };
    const shards: number[] = [];
    const retired: RetiredShard[] = [];
    const writes = new Map<number, QueueWriteKeys>();
    const evicted = new Set<KeyState>();
    const plan = { shards, writes, evicted, drafts, retired };
    for (const [at, operation] of ops.entries()) {
      const name = operation.queue?.[1] ?? operation.bucket;
      const draft = draftOf(name);
      if (draft === undefined) {
        const isForQueue = operation.queue !== undefined || operation.hold !== undefined;
        if (isForQueue) return { ...plan, reason: `${name} is not a queue` };
        continue;
      }
      const result = this.#applyTo(draft, operation, at);
      if (typeof result === "string") return { ...plan, reason: result };
      const { op, key, queue } = operation;
      if (op === "evict") {
        for (const one of this.#queue(name).evicted.get(splitKey(key).name) ?? []) evicted.add(one);
      } else if (queue?.[0] === "enqueue") {
        shards.push(result ?? 0);
        writes.set(at, { to: this.#keys.collectKey(name, `${result ?? 0}/${queue[2]}`) });
      } else if (queue?.[0] === "move") {
        const { name: entry } = splitKey(queue[2]);
        writes.set(at, {
          to: this.#keys.collectKey(name, `${queue[3]}/${entry}`),
          from: this.#keys.collectKey(name, queue[2]),
        });
      } else if (queue?.[0] === "retire") retired.push({ queue: name, shard: queue[2] });
    }
    const reason = this.#reconfiguration(ops, drafts);
    if (reason !== undefined) return { ...plan, reason };
    if (writes.size > 0) await this.#keys.load();
    return plan;
  }

  /** Applies the effects of a committed transaction, except those on documents. */
  commit({ drafts, retired }: QueuePlan): void {
    for (const [name, draft] of drafts) {
      const queue = this.#queue(name);
      for (const [number, shard] of draft.shards) queue.setShard(number, shard);
      for (const [entry, place] of draft.places) queue.setPlace(entry, place);
    }
    if (retired.length > 0) this.#retiring = [...this.#retiring, ...retired];
  }

  /** Removes rows of the first retiring shard, after each transaction, whatever its outcome. */
  async after(txId: TxId): Promise<void> {
    const [first] = this.#retiring;
    if (this.#retirement === undefined || first === undefined) return;
    const queue = this.#queue(first.queue);
    const shard = queue.shards.get(first.shard);
    if (shard === undefined) return;
    const { entries, isDone } = await this.#retirement.step(txId);
    for (const entry of entries) {
      // The place was not read, but every entry of a shard has one.
      queue.collectPlace(entry, FINISHED);
      queue.setPlace(entry, undefined);
    }
    queue.setShard(first.shard, isDone ? undefined : { ...shard, entries: shard.entries - entries.length });
    if (isDone) this.#retiring = this.#retiring.slice(1);
  }

  state({ cleaned, pruned }: IndexState): Pick<IndexState, "retiring" | "cleaned" | "pruned"> {
    const retiring = this.#retiring.length === 0 ? undefined : [...this.#retiring];
    const removed = this.#retirement?.removed ?? 0;
    if (removed === 0) return { retiring, cleaned, pruned };
    return { retiring, cleaned: this.#before.txId + 1, pruned: Math.max(pruned ?? 0, removed) };
  }

  known(txId: TxId): KnownShards {
    const shards = new Map(this.#known);
    for (const queue of this.#queues.values()) shards.set(queue.name, queue.shards);
    return { txId, shards };
  }

  *rows(): Generator<KvOperation> {
    for (const queue of this.#queues.values()) yield* queue.rows();
    yield* this.#retirement?.rows() ?? [];
  }

  /** Applies an operation to a draft. Returns a reason to abort, or the shard of an enqueued entry. */
  #applyTo(draft: QueueTransaction, operation: LoggedOperation, at: number): string | number | undefined {
    const { op, bucket, key, queue, document, hold } = operation;
    if (queue !== undefined) {
      switch (queue[0]) {
        case "claim":
        case "drain":
          return draft[queue[0]](queue[2], queue[3].as);
        case "renew":
        case "release":
        case "retire":
          return draft[queue[0]](queue[2], asHold(queue[3]));
        case "enqueue":
          return draft.enqueue(queue[2], this.#isOpen(queue[1], document), at);
        case "move": {
          const { namespace, name } = splitKey(queue[2]);
          const from = shardOfNamespace(namespace);
          return from === undefined
            ? `${queue[1]} has no shard ${namespace}`
            : draft.move(name, from, queue[3], asHold(queue[4]));
        }
      }
    }
    if (op === "match") return undefined;
    const { namespace, name } = splitKey(key);
    const number = shardOfNamespace(namespace);
    if (op === "evict") return draft.evict(name, number);
    if (number === undefined) return `${bucket} has no shard ${namespace}`;
    if (op === "delete") return draft.delete(name, number, hold);
    return draft.put(name, number, this.#isOpen(bucket, document), at, hold);
  }

  #isOpen(queue: string, document: Uint8Array | undefined): boolean {
    const rule = this.#rules.get(queue);
    if (rule === undefined || document === undefined) return true;
    return !appliesTo(rule, JSON.parse(Buffer.from(document).toString("utf8")) as Json);
  }

  #reconfiguration(
    ops: readonly LoggedOperation[],
    drafts: ReadonlyMap<string, QueueTransaction>,
  ): string | undefined {
    const set = ops.find(({ op }) => op === "configure")?.document;
    if (set === undefined) return undefined;
    const before = this.#before.policies?.value.queues ?? {};
    const after = queuesOf(set);
    for (const name of this.#reconfigured(after)) {
      const policies = { before: ownMember(before, name), after: ownMember(after, name) };
      if (JSON.stringify(policies.before) === JSON.stringify(policies.after)) continue;
      if (drafts.has(name) || ops.some(({ bucket }) => bucket === name)) {
        return `${name} is written by the transaction that changes its policy`;
      }
      const { documents, tombstones } = this.#keys.collectBucket(name);
      const { shards } = this.#queue(name);
      const queue = { name, ...policies, shards, documents, tombstones };
      const problem = reconfigurationProblem(queue);
      if (problem !== undefined) return problem;
    }
    return undefined;
  }

  #reconfigured(after: NonNullable<Policies["queues"]>): readonly string[] {
    const before = this.#before.policies?.value.queues ?? {};
    return [...new Set([...Object.keys(before), ...Object.keys(after)])].toSorted();
  }

  #collect({ op, bucket, key, queue, document }: LoggedOperation, at: number): void {
    if (op === "configure" && document !== undefined) {
      for (const name of this.#reconfigured(queuesOf(document))) {
        this.#queue(name);
        this.#keys.collectBucket(name);
      }
      return;
    }
    const name = queue?.[1] ?? bucket;
    if (!this.#rules.has(name)) return;
    const state = this.#queue(name);
    if (queue === undefined) {
      const { namespace, name: entry } = splitKey(key);
      if (op !== "match") state.collectPlace(entry);
      if (op === "evict" && shardOfNamespace(namespace) !== undefined) state.evicted.set(entry, []);
    } else if (queue[0] === "enqueue") {
      state.collectPlace(queue[2]);
      this.#keys.collectBucket(name);
    } else if (queue[0] === "move") {
      const { name: entry } = splitKey(queue[2]);
      state.collectPlace(entry);
      this.#addOther(at, name, queue[2]);
      this.#addOther(at, name, `${queue[3]}/${entry}`);
    }
  }

  /** Collects the keys with the documents of the entries that the batch, which is a single message, may evict. */
  #collectDocuments({ name, places, evicted }: QueueState): void {
    for (const entry of evicted.keys()) {
      const place = places.get(entry);
      if (place !== undefined) this.#addOther(0, name, `${place.shard}/${entry}`);
    }
  }

  #addOther(at: number, queue: string, key: string): void {
    madeOnce(this.#others, at, () => []).push(this.#keys.collectKey(queue, key));
  }

  #queue(name: string): QueueState {
    return madeOnce(this.#queues, name, () => new QueueState(name));
  }
}

/** Stands for the place of a finished entry that was not read. */
const FINISHED: EntryPlace = { shard: 0, isOpen: false, txId: 0, at: 0, moved: undefined };

function queuesOf(policies: Uint8Array): NonNullable<Policies["queues"]> {
  return (JSON.parse(Buffer.from(policies).toString("utf8")) as Policies).queues ?? {};
}
