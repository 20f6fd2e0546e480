import { pause, spread, timeoutSignal } from "../types/timing.ts";
import type { ClientTransaction } from "../types/client-types.ts";
import type { QueuePolicy } from "../types/policies.ts";
import type { QueueEntry, QueueShard, QueueStatus } from "../types/queues.ts";
import type { Json, TxId } from "../types/transaction.ts";
import { drainShard, shardToDrain } from "./drain-shard.ts";
import { checkDirectorOptions, type DirectorOptions } from "./director-options.ts";
import { checkedLease, failed, finished } from "./entry-rules.ts";
import { asError, handleEntry } from "./handle-entry.ts";
import { HeldShard, type ShardParts } from "./held-shard.ts";
import {
  codeOf,
  holdOf,
  isHeld,
  lowestSpare,
  mayPass,
  type QueueAccess,
  transactUntil,
} from "./queue-access.ts";
import { Bell } from "./bell.ts";

/** A program's part in finishing the entries of a queue. */
export interface Director {
  readonly as: string;
  /** The shards that the director holds, in the order of their numbers. */
  readonly shards: readonly number[];
  /**
   * Resolves when the director has stopped. Rejects if it cannot go on, as when the bucket is not a queue (`NOT_FOUND`)
   * or a token lacks a right (`FORBIDDEN`).
   */
  readonly done: Promise<void>;
  /** Hands out no more entries, waits for handlers while renewing leases, writes their ends, gives the shards back. */
  stop(): Promise<void>;
}

const DEFAULT_CONCURRENCY = 8;
const DEFAULT_DRAIN_AT = 0.5;
const DEFAULT_STOP_MS = 10_000;
/** The time that a director which stops waits for a claim that is on its way. */
const CLAIM_MS = 1_000;
/** The time for giving a shard back. After that, its lease ends by itself. */
const RELEASE_MS = 5_000;
/** The part of a lease after which it is renewed. A director looks at the queue more often than that. */
const RENEW_AFTER = 1 / 4;
const MAX_LOOK_MS = 5_000;
const MIN_LOOK_MS = 50;

/** Starts a director of a queue. Throws a `TypeError` if it cannot work with the options. */
export function directQueue<T extends Json>(
  access: QueueAccess,
  queue: string,
  options: DirectorOptions<T>,
): Director {
  checkDirectorOptions(options);
  return new QueueDirector(access, queue, options as unknown as DirectorOptions);
}

class QueueDirector implements Director {
  readonly as: string;
  readonly done: Promise<void>;
  readonly #access: QueueAccess;
  readonly #queue: string;
  readonly #options: DirectorOptions;
  readonly #held = new Map<number, HeldShard>();
  readonly #bell = new Bell();
  /** Aborted when the director stops, when it gives its shards back after that, and when it has ended. */
  readonly #stopping = new AbortController();
  readonly #leaving = new AbortController();
  readonly #ended = new AbortController();
  #leaseMs = MAX_LOOK_MS;
  #inHand = 0;
  /** The shard after the one from which an entry was last handed out. */
  #turn = 0;
  #drain: Promise<void> | undefined;

  constructor(access: QueueAccess, queue: string, options: DirectorOptions) {
    this.as = options.as ?? `director-${crypto.randomUUID()}`;
    this.#access = access;
    this.#queue = queue;
    this.#options = options;
    this.done = this.#run();
    // A rejection that no caller awaits must not end the process.
    this.done.catch(() => {});
  }

  get shards(): readonly number[] {
    return [...this.#held.keys()].toSorted((a, b) => a - b);
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#bell.ring();
    await this.done;
  }

  async #run(): Promise<void> {
    const looking = this.#lookAgainAndAgain();
    const work = [looking, this.#handOut(), this.#follow()];
    try {
      // The first to end is the stop, or an error with which the director cannot go on.
      await Promise.race(work);
      await this.#finish(looking);
    } finally {
      this.#stopping.abort();
      this.#leaving.abort();
      this.#ended.abort();
      for (const shard of this.#held.values()) shard.lose("its director has ended");
      this.#bell.ring();
      await Promise.allSettled(work);
    }
  }

  /** Waits for the handlers, and gives the shards back. */
  async #finish(looking: Promise<void>): Promise<void> {
    const { stopMs = DEFAULT_STOP_MS } = this.#options;
    const patience = timeoutSignal(stopMs);
    await Promise.all([...this.#held.values()].map((shard) => shard.idle(patience)));
    this.#leaving.abort();
    // A claim that was on its way when the director was stopped is given back as well.
    const ended = new AbortController();
    await Promise.race([looking.finally(() => ended.abort()), pause(CLAIM_MS, ended.signal)]);
    const held = [...this.#held.values()];
    await Promise.allSettled([...held.map((shard) => this.#giveBack(shard)), this.#drain]);
  }

  /**
   * Looks at the queue at random instants: renews, claims, gives back, and drains. While the director stops, it only
   * renews, so that no other director claims a shard whose entries are still in hand.
   */
  async #lookAgainAndAgain(): Promise<void> {
    const { signal } = this.#leaving;
    const { signal: stopping } = this.#stopping;
    while (!signal.aborted) {
      try {
        // The leases come first, because a look at the queue may take long.
        await this.#renewAll();
        const status = await this.#access.queue(this.#queue, this.#ended.signal);
        this.#leaseMs = checkedLease(status.policy);
        for (const shard of this.#held.values()) {
          shard.policy = status.policy;
          if (!isHeld(status, shard))
            shard.lose("somebody else has claimed it, or the log has lost the claim");
        }
        if (!stopping.aborted) await this.#balance(status);
        if (!stopping.aborted) this.#drainOne(status);
      } catch (error) {
        if (signal.aborted) return;
        // While the director stops, its handlers may still end in time.
        if (!mayPass(error) && !stopping.aborted) throw error;
        this.#report(error);
      }
      const mean = Math.max(MIN_LOOK_MS, Math.min(MAX_LOOK_MS, this.#leaseMs * RENEW_AFTER));
      await pause(spread(mean), signal);
    }
  }

  async #renewAll(): Promise<void> {
    const sentAt = performance.now();
    const due = [...this.#held.values()].filter(
      ({ heldAt }) => sentAt - heldAt >= this.#leaseMs * RENEW_AFTER,
    );
    await Promise.all(
      due.map(async (shard) => {
        try {
          const ops = [["renew", this.#queue, shard.shard, holdOf(shard)]] as const;
          const { committed, reason = "" } = await transactUntil(this.#access, ops, shard.signal);
          if (committed) shard.held(sentAt);
          else shard.lose(`it could not be renewed (${reason})`);
        } catch (error) {
          if (!shard.signal.aborted) throw error;
        }
      }),
    );
  }

  /** Claims shards up to this director's share of the active ones, and gives back what is more. */
  async #balance(status: QueueStatus): Promise<void> {
    const { shards: limit = Infinity } = this.#options;
    const active = status.shards.filter(({ state }) => state !== "retiring");
    const others = new Set(active.filter((one) => this.#isOthers(one)).map(({ holder }) => holder?.as));
    const share = Math.min(limit, Math.ceil(active.length / (others.size + 1)));
    // A queue without active shards, or whose shards all have directors, gets another one, so that others see this
    // director and its share.
    const wanted = Math.max(share, 1);
    for (const shard of [...this.#held.values()].slice(wanted)) void this.#giveBackWhenIdle(shard);
    for (const free of active) {
      if (this.#held.size >= wanted) return;
      if (!this.#isFree(free)) continue;
      await this.#claim(free.shard, status.policy);
    }
    if (this.#held.size > 0 || this.#drain !== undefined || this.#stopping.signal.aborted) return;
    const spare = lowestSpare(status);
    if (spare !== undefined) await this.#claim(spare, status.policy);
  }

  #isOthers({ shard, holder }: QueueShard): boolean {
    return holder !== null && !this.#held.has(shard) && Date.parse(holder.until) > Date.now();
  }

  #isFree(shard: QueueShard): boolean {
    return !this.#held.has(shard.shard) && !this.#isOthers(shard);
  }

  /** Claims a shard. It is no error if somebody else was faster. */
  async #claim(shard: number, policy: QueuePolicy): Promise<void> {
    const { signal } = this.#stopping;
    if (signal.aborted) return;
    const sentAt = performance.now();
    const ops = [["claim", this.#queue, shard, { as: this.as }]] as const;
    const {
      committed,
      txId,
      duplicateOf: epoch = txId,
    } = await transactUntil(this.#access, ops, this.#ended.signal);
    if (!committed) return;
    const { concurrency = DEFAULT_CONCURRENCY } = this.#options;
    const parts: ShardParts = {
      access: this.#access,
      queue: this.#queue,
      ahead: 2 * concurrency,
      onChange: () => this.#bell.ring(),
      onError: (error, entry) => this.#report(error, entry),
    };
    const held = new HeldShard(parts, { shard, epoch, as: this.as, sentAt, policy });
    if (held.signal.aborted) return;
    this.#held.set(shard, held);
    held.signal.addEventListener("abort", () => {
      if (this.#held.get(shard) === held) this.#held.delete(shard);
    });
    this.#bell.ring();
  }

  /** Gives a shard back once none of its entries is in hand. Goes on with it if that takes as long as a lease. */
  async #giveBackWhenIdle(shard: HeldShard): Promise<void> {
    if (shard.isPaused) return;
    shard.isPaused = true;
    if (await shard.idle(timeoutSignal(this.#leaseMs))) {
      await this.#giveBack(shard).catch((error: unknown) => this.#report(error));
    } else shard.isPaused = false;
  }

  /** Aborts what is in hand, and then gives the shard back, so that nobody else handles the same meanwhile. */
  async #giveBack(shard: HeldShard): Promise<void> {
    if (shard.signal.aborted) return;
    shard.lose("it is given back");
    await transactUntil(
      this.#access,
      [["release", this.#queue, shard.shard, holdOf(shard)]],
      AbortSignal.any([timeoutSignal(RELEASE_MS), this.#ended.signal]),
    );
  }

  #drainOne(status: QueueStatus): void {
    const { drainAt = DEFAULT_DRAIN_AT } = this.#options;
    if (drainAt === false || this.#drain !== undefined) return;
    const chosen = shardToDrain(status, drainAt);
    const held = chosen === undefined ? undefined : this.#held.get(chosen);
    if (held === undefined || held.isPaused) return;
    held.isPaused = true;
    const work = async (): Promise<void> => {
      if (!(await held.idle(timeoutSignal(this.#leaseMs))) || held.signal.aborted) return;
      await drainShard(this.#access, {
        queue: this.#queue,
        shard: held.shard,
        as: this.as,
        signal: this.#stopping.signal,
        leaseMs: this.#leaseMs,
        onDrained: () => held.lose("it is being drained"),
      });
    };
    this.#drain = work()
      .catch((error: unknown) => this.#report(error))
      .finally(() => {
        this.#drain = undefined;
        held.isPaused = false;
        this.#bell.ring();
      });
  }

  /** Hands out entries while there are fewer than `concurrency` in hand. */
  async #handOut(): Promise<void> {
    const { signal } = this.#stopping;
    const { concurrency = DEFAULT_CONCURRENCY } = this.#options;
    while (!signal.aborted) {
      const rung = this.#bell.next;
      for (const shard of this.#held.values()) shard.wake(Date.now());
      while (this.#inHand < concurrency && this.#handOutOne());
      const due = Math.min(...[...this.#held.values()].map(({ dueAt }) => dueAt));
      if (due === Infinity) await rung;
      else {
        const waiting = new AbortController();
        await Promise.race([rung, pause(Math.max(1, due - Date.now()), waiting.signal)]);
        waiting.abort();
      }
    }
  }

  /** Hands out an entry of the next shard that has one. Returns false if none has. */
  #handOutOne(): boolean {
    const held = [...this.#held.values()];
    for (let tried = 0; tried < held.length; tried += 1) {
      const at = (this.#turn + tried) % held.length;
      const shard = held[at];
      const taken = shard?.take();
      if (shard === undefined || taken === undefined) continue;
      this.#turn = at + 1;
      this.#inHand += 1;
      void this.#handle(shard, taken.entry, taken.signal).finally(() => {
        this.#inHand -= 1;
        this.#bell.ring();
      });
      return true;
    }
    return false;
  }

  async #handle(shard: HeldShard, entry: QueueEntry, signal: AbortSignal): Promise<void> {
    const handled = await handleEntry(this.#options.handle, entry, signal);
    if ("document" in handled) {
      shard.end(entry, handled.document ?? finished(entry.document, shard.policy));
      return;
    }
    const { error } = handled;
    if (!signal.aborted) this.#report(error, entry);
    shard.end(entry, failed(entry.document, error, shard.policy, Date.now()));
  }

  async #follow(): Promise<void> {
    const { signal } = this.#ended;
    while (!signal.aborted) {
      try {
        // Any shard's page says which transaction is indexed, and everything before it is read when it is claimed.
        const query = { queue: this.#queue, shard: 0, limit: 1, cursor: undefined };
        const { txId } = await this.#access.openEntries(query, signal);
        for (const shard of this.#held.values()) shard.readAgain();
        await this.#followFrom(txId, signal);
      } catch (error) {
        if (signal.aborted) return;
        // A watch from a transaction that the log has lost is refused, but the next one begins at what there is.
        if (!mayPass(error) && codeOf(error) !== "REQUEST_INVALID") throw error;
        this.#report(error);
      }
      await pause(spread(MAX_LOOK_MS / 10), signal);
    }
  }

  async #followFrom(from: TxId, signal: AbortSignal): Promise<void> {
    const transactions: AsyncIterable<ClientTransaction> = this.#access.watch(this.#queue, from, signal);
    for await (const { changes } of transactions) {
      // A move deletes the entry in one shard and puts it in another one.
      const left = new Set(changes.filter(({ op }) => op === "delete").map(({ name }) => name));
      for (const { op, namespace, name, revision, document } of changes) {
        this.#held.get(Number(namespace))?.changed({
          name,
          revision,
          document: op === "put" ? document : undefined,
          isMoved: op === "put" && left.has(name),
        });
      }
    }
  }

  #report(error: unknown, entry?: QueueEntry): void {
    void this.#call(asError(error), entry);
  }

  /** Calls the caller's function, which may throw or reject without ending the director. */
  async #call(error: Error, entry: QueueEntry | undefined): Promise<void> {
    try {
      await this.#options.onError?.(error, entry);
    } catch {
      // There is nobody else to tell.
    }
  }
}
