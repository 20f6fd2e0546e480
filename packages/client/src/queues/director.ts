import { nextTurn, spread, timeoutSignal, wait } from "../types/timing.ts";
import type { ClientTransaction } from "../types/client-types.ts";
import type { QueuePolicy } from "../types/policies.ts";
import type { QueueEntry, QueueStatus } from "../types/queues.ts";
import { drainShard, shardToDrain } from "./drain-shard.ts";
import { checkDirectorOptions, type DirectorOptions } from "./director-options.ts";
import { CairnClientError } from "../types/client-error.ts";
import {
  asError,
  checkedPolicy,
  durationMs,
  failed,
  finished,
  handleEntry,
  isSuspect,
} from "./entry-rules.ts";
import { HAND_OUT_WITHIN, HeldShard, RENEW_AFTER } from "./held-shard.ts";
import { JointTransactions } from "./joint-transactions.ts";
import {
  Bell,
  type DirectedQueue,
  isHeld,
  mayPass,
  type QueueAccess,
  takeHold,
  timedAccess,
  updateHold,
} from "./queue-access.ts";
import { SatisfiedDirectors, isHeldNow, shareOf } from "./shares.ts";

/** A program's part in finishing the entries of a queue. */
export interface Director extends AsyncDisposable {
  readonly as: string;
  /** The shards that the director holds, in the order of their numbers. */
  readonly shards: readonly number[];
  /**
   * Resolves when the director has stopped. Rejects if it cannot go on, as when the bucket is not a queue (`NOT_FOUND`),
   * a token lacks a right (`FORBIDDEN`) or all nodes are read-only (`LOG_READ_ONLY`).
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
/** The part of a lease for which handlers may keep the thread busy, one after the other, before fewer are in hand. */
const LATE_AFTER = 1 / 8;
const MAX_LOOK_MS = 5_000;
const MIN_LOOK_MS = 50;
/** Stands for the policy of the queue until that has been read. */
const UNKNOWN_POLICY: QueuePolicy = { shards: 0, cap: 0, terminal: {}, lease: MAX_LOOK_MS };

/** Starts a director of a queue. Throws a `TypeError` if it cannot work with the options. */
export function directQueue<T>(access: QueueAccess, queue: string, options: DirectorOptions<T>): Director {
  checkDirectorOptions(options);
  return new QueueDirector(access, queue, options as unknown as DirectorOptions);
}

/**
 * A director, which goes through four modes: it *runs*, and *stops* when it is told to, or when it cannot go on. Then it
 * hands out nothing, claims nothing, and waits for its handlers, while it renews its leases. It *leaves* when it gives
 * its shards back, and has *ended* when nothing is sent any more.
 */
class QueueDirector implements Director {
  readonly as: string;
  readonly done: Promise<void>;
  readonly #queue: DirectedQueue;
  readonly #options: DirectorOptions;
  readonly #held = new Map<number, HeldShard>();
  readonly #satisfied = new SatisfiedDirectors();
  /** Each is aborted when its mode begins. */
  readonly #stopping = new AbortController();
  readonly #leaving = new AbortController();
  readonly #ended = new AbortController();
  /** The number of entries in hand, also of shards that were lost. */
  #inHand = 0;
  /** The number of entries that may be in hand, as long as their handlers leave the thread time for renewals. */
  #room = 1;
  /** Whether the thread came too late to something since the last look at the queue. */
  #wasLate = false;
  /** The entry in hand that may have ended a process before. Another one would count attempts that this one ends. */
  #suspect: QueueEntry | undefined;
  /** Whether it was reported that the thread was busy for too long. */
  #isBusyReported = false;
  #drain: Promise<void> | undefined;

  constructor(access: QueueAccess, name: string, options: DirectorOptions) {
    this.as = options.as ?? `director-${crypto.randomUUID()}`;
    this.#options = options;
    const { access: timed, now } = timedAccess(access);
    const joint = new JointTransactions(timed);
    this.#queue = {
      access: timed,
      transact: (ops, signal) => joint.transact(ops, signal),
      name,
      now,
      policy: UNKNOWN_POLICY,
      leaseMs: MAX_LOOK_MS,
      ahead: 2 * (options.concurrency ?? DEFAULT_CONCURRENCY),
      bell: new Bell(),
      onError: (error, entry) => void this.#report(error, entry),
    };
    this.done = this.#run();
    // A rejection that no caller awaits must not end the process.
    this.done.catch(() => {});
  }

  get shards(): readonly number[] {
    return [...this.#held]
      .flatMap(([shard, held]) => (held.mayAct() ? [shard] : []))
      .toSorted((a, b) => a - b);
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#queue.bell.ring();
    await this.done;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async #run(): Promise<void> {
    const looking = this.#lookAgainAndAgain();
    const work = [looking, this.#handOut(), this.#follow()];
    try {
      // The first to end is the stop, or an error with which the director cannot go on.
      await Promise.race(work);
      await this.#leave(looking);
    } catch (error) {
      void this.#report(error);
      throw error;
    } finally {
      for (const mode of [this.#stopping, this.#leaving, this.#ended]) mode.abort();
      for (const shard of this.#held.values()) shard.lose("its director has ended");
      this.#queue.bell.ring();
      await Promise.allSettled(work);
    }
  }

  async #leave(looking: Promise<void>): Promise<void> {
    const { stopMs = DEFAULT_STOP_MS } = this.#options;
    const patience = timeoutSignal(stopMs);
    await Promise.all([...this.#held.values()].map((shard) => shard.idle(patience)));
    this.#leaving.abort();
    // A claim that was on its way when the director was stopped is given back as well.
    const ended = new AbortController();
    await Promise.race([looking.finally(() => ended.abort()), wait(CLAIM_MS, ended.signal)]);
    await Promise.allSettled([
      ...[...this.#held.values()].map((shard) => this.#giveBack(shard)),
      this.#drain,
    ]);
  }

  /**
   * Looks at the queue at random instants: renews, claims, gives back, and drains. After a claim, it soon looks again, and
   * then less and less often: directors that start together have their shares at once. While the director stops, it only
   * renews, so that no other director claims a shard whose entries are still in hand.
   */
  async #lookAgainAndAgain(): Promise<void> {
    const { signal } = this.#leaving;
    const { signal: stopping } = this.#stopping;
    let soonMs = MIN_LOOK_MS;
    while (!signal.aborted) {
      try {
        // The leases come first, because a look at the queue may take long.
        await Promise.all([...this.#held.values()].map((shard) => shard.renew()));
        const status = await this.#queue.access.queue(this.#queue.name, this.#ended.signal);
        this.#queue.policy = checkedPolicy(status.policy);
        this.#queue.leaseMs = durationMs(status.policy.lease);
        for (const shard of this.#held.values())
          if (!isHeld(status, shard.hold))
            shard.lose("another director has claimed it, or the log has lost the claim");
        if (!stopping.aborted && (await this.#balance(status))) soonMs = MIN_LOOK_MS;
        if (!stopping.aborted) this.#drainOne(status);
      } catch (error) {
        if (signal.aborted) return;
        // While the director stops, its handlers may still end in time.
        if (!mayPass(error) && !stopping.aborted) throw error;
        void this.#report(error);
      }
      const mean = Math.max(MIN_LOOK_MS, Math.min(MAX_LOOK_MS, this.#queue.leaseMs * RENEW_AFTER));
      const dueAt = performance.now() + spread(Math.min(soonMs, mean));
      await wait(dueAt - performance.now(), signal);
      const more = this.#wasLate || soonMs < mean ? 0 : this.#room;
      soonMs = Math.min(2 * soonMs, mean);
      this.#wasLate = false;
      if (!signal.aborted) this.#pace(performance.now() - dueAt, more);
    }
  }

  /** Claims shards of this director's share, and gives back what is more. Returns whether it has claimed any. */
  async #balance(status: QueueStatus): Promise<boolean> {
    const share = shareOf(status, {
      now: this.#queue.now(),
      as: this.as,
      held: new Set(this.#held.keys()),
      limit: this.#options.shards ?? Infinity,
      satisfied: this.#satisfied.names,
      mayOpen: this.#drain === undefined,
      random: Math.random(),
    });
    this.#satisfied.note(share, performance.now(), this.#queue.leaseMs);
    const { size, claims } = share;
    const idlest = [...this.#held.values()]
      .filter(({ isPaused }) => !isPaused)
      .toSorted((a, b) => a.entries.inHand.size - b.entries.inHand.size);
    for (const shard of idlest.slice(0, Math.max(0, idlest.length - size)))
      shard.whileIdle(() => this.#giveBack(shard)).catch((error: unknown) => this.#report(error));
    const claimed = claims.map(async ({ shard, isTakenOver }) => await this.#claim(shard, isTakenOver));
    return (await Promise.all(claimed)).includes(true);
  }

  /** Claims a shard, which its last director may not have given back. Returns false if another one was faster. */
  async #claim(shard: number, isTakenOver: boolean): Promise<boolean> {
    if (this.#stopping.signal.aborted) return false;
    const { access, name } = this.#queue;
    const sentAt = performance.now();
    const wanted = { queue: name, shard, as: this.as };
    const hold = await takeHold(access, "claim", wanted, this.#ended.signal);
    if (typeof hold === "string") return false;
    const held = new HeldShard(this.#queue, hold, sentAt, isTakenOver);
    this.#held.set(shard, held);
    held.signal.addEventListener("abort", () => {
      if (this.#held.get(shard) === held) this.#held.delete(shard);
    });
    this.#queue.bell.ring();
    return true;
  }

  /** Aborts what is in hand, and then gives the shard back, so that no other director handles the same meanwhile. */
  async #giveBack(shard: HeldShard): Promise<void> {
    if (shard.signal.aborted) return;
    shard.lose("it is given back");
    const inTime = AbortSignal.any([timeoutSignal(RELEASE_MS), this.#ended.signal]);
    await shard.takeBack(inTime);
    await updateHold(this.#queue.access, "release", shard.hold, inTime);
  }

  #drainOne(status: QueueStatus): void {
    const { drainAt = DEFAULT_DRAIN_AT } = this.#options;
    if (drainAt === false || this.#drain !== undefined) return;
    const { access, leaseMs, name: queue } = this.#queue;
    const now = this.#queue.now();
    const chosen = shardToDrain(status, { drainAt, now, satisfied: this.#satisfied.names });
    if (chosen === undefined) return;
    const { shard } = chosen;
    const held = this.#held.get(shard);
    // Its director drains it. Without one, because all hold as many as they may, any does.
    if (held === undefined && isHeldNow(chosen, now)) return;
    const { signal } = this.#stopping;
    const onDrained = (): void => held?.lose("it is being drained");
    const drained = { queue, shard, as: this.as, signal, leaseMs, onDrained };
    const drain = async (): Promise<void> => void (await drainShard(access, drained));
    this.#drain = (held?.whileIdle(drain) ?? drain())
      .catch((error: unknown) => this.#report(error))
      .finally(() => {
        this.#drain = undefined;
        this.#queue.bell.ring();
      });
  }

  /** Hands out entries while there is room for more in hand. */
  async #handOut(): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      const rung = this.#queue.bell.next;
      for (const { entries } of this.#held.values()) entries.wake(this.#queue.now());
      // What a handler has kept from being sent and received, such as the renewal of a lease, comes before the next one.
      while (!signal.aborted && this.#inHand < this.#room && this.#handOutOne()) await nextTurn();
      const due = Math.min(...[...this.#held.values()].map(({ entries }) => entries.dueAt));
      if (due === Infinity) await rung;
      else {
        const waiting = new AbortController();
        await Promise.race([rung, wait(Math.max(1, due - this.#queue.now()), waiting.signal)]);
        waiting.abort();
      }
    }
  }

  /** Hands out an entry of the next shard that has one. Returns false if none has. */
  #handOutOne(): boolean {
    for (const [number, shard] of this.#held) {
      const taken = shard.take(this.#suspect === undefined);
      if (taken === undefined) continue;
      // It is the last one's turn next time.
      this.#held.delete(number);
      this.#held.set(number, shard);
      this.#inHand += 1;
      const { entry, signal } = taken;
      if (isSuspect(entry.document)) this.#suspect = entry;
      const fail = (error: unknown): void => {
        shard.putBack(entry);
        void this.#report(error, entry);
      };
      const handling = this.#handle(shard, entry, signal).catch(fail);
      void handling.finally(() => {
        this.#inHand -= 1;
        if (this.#suspect === entry) this.#suspect = undefined;
        this.#queue.bell.ring();
      });
      return true;
    }
    return false;
  }

  async #handle(shard: HeldShard, taken: QueueEntry, signal: AbortSignal): Promise<void> {
    const entry = await shard.begin(taken);
    if (entry === undefined) return;
    if (signal.aborted) return shard.putBack(entry);
    const begunAt = performance.now();
    const handling = handleEntry(this.#options.handle, structuredClone(entry), signal);
    this.#noteBusy(performance.now() - begunAt);
    const handled = await handling;
    const endedAt = performance.now();
    void nextTurn().then(() => this.#pace(performance.now() - endedAt, 1));
    const { policy } = this.#queue;
    if ("document" in handled) {
      if (signal.aborted) shard.drop(entry, signal.reason);
      else shard.end(entry, handled.document ?? finished(entry.document, policy));
      return;
    }
    const { error } = handled;
    if (signal.aborted) return shard.putBack(entry);
    shard.end(entry, failed(entry.document, error, policy, this.#queue.now()));
    void this.#report(error, entry);
  }

  /** Has more entries in hand, up to `concurrency`, or fewer if the thread came to something this late. */
  #pace(lateMs: number, more: number): void {
    const { concurrency = DEFAULT_CONCURRENCY } = this.#options;
    const isLate = lateMs > this.#queue.leaseMs * LATE_AFTER;
    this.#wasLate ||= isLate;
    this.#room = isLate ? Math.max(1, Math.floor(this.#room / 2)) : Math.min(concurrency, this.#room + more);
    this.#noteBusy(lateMs);
    this.#queue.bell.ring();
  }

  /** Reports once that the thread was busy for so long that leases may have ended meanwhile. */
  #noteBusy(ms: number): void {
    if (this.#isBusyReported || ms <= this.#queue.leaseMs * (1 - HAND_OUT_WITHIN)) return;
    this.#isBusyReported = true;
    const message = `The thread of this director was busy or stopped for ${(ms / 1_000).toFixed(1)} s. No lease can be renewed meanwhile, and those of ${this.#queue.name} last ${this.#queue.leaseMs / 1_000} s.`;
    const hint = `Compute in a worker thread, or set a "lease" of ${this.#queue.name} in the policies of more than twice that time. Otherwise, other directors take the shard over, and handle its entries again.`;
    void this.#report(new CairnClientError("THREAD_BUSY", message, { hint }));
  }

  async #follow(): Promise<void> {
    const { signal } = this.#ended;
    const { access, name: queue } = this.#queue;
    while (!signal.aborted) {
      try {
        // Any shard's page contains how far the log is indexed. Everything before that is read when it is claimed.
        const query = { queue, shard: 0, limit: 1, cursor: undefined };
        const { position } = await access.openEntries(query, signal);
        for (const { entries } of this.#held.values()) entries.forget();
        for await (const transaction of access.watch(queue, position, signal)) this.#changed(transaction);
      } catch (error) {
        if (signal.aborted) return;
        if (!mayPass(error)) throw error;
        void this.#report(error);
      }
      await wait(spread(MAX_LOOK_MS / 10), signal);
    }
  }

  #changed({ changes }: ClientTransaction): void {
    // A move deletes the entry in one shard and puts it in another one.
    const left = new Set(changes.filter(({ op }) => op === "delete").map(({ name }) => name));
    for (const { op, namespace, name, revision, document } of changes) {
      const isPut = op === "put";
      this.#held.get(Number(namespace))?.entries.changed({
        name,
        revision,
        document: isPut ? document : undefined,
        isMoved: isPut && left.has(name),
      });
    }
  }

  /**
   * Calls the caller's function, which may throw or reject without ending the director. As with handlers, it gets a copy:
   * what is written next is computed from the entry as it was read.
   */
  async #report(error: unknown, entry?: QueueEntry): Promise<void> {
    try {
      await this.#options.onError?.(asError(error), structuredClone(entry));
    } catch {
      // No caller is left to tell.
    }
  }
}
