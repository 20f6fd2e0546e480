import { backoffMs, systemClock } from "@cairn/checkpoint";
import { type CairnError, isCairnError } from "@cairn/kv";
import { type Anchor, anchorOf, checkAnchor, gap, otherMessage, trimmed, vanished } from "./anchor.ts";
import { inTime, LATE } from "../concurrency/in-time.ts";
import type { LogMessage, TxLog } from "./tx-log.ts";

/** Whether the log answers; `error` says why not. Told when it changes, and once at the first success. */
export interface LogState {
  readonly reachable: boolean;
  readonly error?: CairnError;
}

/** How {@link followLog} follows. */
export interface FollowOptions {
  /** The last message that is known already; the first one yielded is the next. Without it, `from` is the first. */
  readonly anchor?: Anchor | undefined;
  /** Where to begin without an anchor. Default 1, the birth record. */
  readonly from?: number;
  readonly signal: AbortSignal;
  readonly onState?: (state: LogState) => void;
  /** Told when the log is read from a position on: the first time, and anew after each interruption. */
  readonly onReading?: () => void;
  /** Bounds of one array, as in {@link TxLog.read}. */
  readonly maxMessages?: number;
  readonly maxBytes?: number;
  /** How long nothing may come before the anchor is compared again, in milliseconds. Default 10,000. */
  readonly idleCheckMs?: number;
  /** The longest pause before reading again after an interruption, in milliseconds. Default 5,000. */
  readonly maxBackoffMs?: number;
  /** Jitter of the pauses; injected by tests. */
  readonly random?: () => number;
}

const FIRST_BACKOFF_MS = 50;
/** How long a message that the log counts and does not have may take to appear. */
const SUSPICIOUS_MS = 1_000;
/** Servers of a cluster may not know all their streams yet when they have just started: within seconds that passes. */
const MISSING_TRIES = 7;

/**
 * The messages of `log` strictly after the anchor, in order and without holes, in arrays (never empty), then those still
 * to come. Ends only when `signal` is aborted. Interruptions and `LOG_UNREACHABLE` are survived by reading again; every
 * reading begins *at* the newest message known and compares it, because a consumer remade by position alone would go on
 * in another history without an error.
 *
 * Throws `LOG_REGRESSED`, `LOG_TRIMMED` or `LOG_GAP` before anything is yielded that does not continue what was yielded, and
 * `LOG_DIFFERENT` when the log is gone from a server that answers.
 */
export async function* followLog(
  log: TxLog,
  options: FollowOptions,
): AsyncGenerator<readonly LogMessage[], void, void> {
  const follower = new Follower(log, options);
  const { signal, maxBackoffMs = 5_000, random = Math.random } = options;
  let failures = 0;
  let missing = 0;
  while (!signal.aborted) {
    const before = follower.lastPosition;
    try {
      yield* follower.readOnce();
    } catch (error) {
      if (!isCairnError(error, "LOG_UNREACHABLE")) throw error;
      follower.tell({ reachable: false, error });
      missing = (await isMissing(log)) ? missing + 1 : 0;
      if (missing === MISSING_TRIES) throw vanished(log.name);
    }
    failures = follower.lastPosition > before ? 0 : failures + 1;
    // Doubled up to the limit, and random by half, so that nodes do not all return at the same moment.
    const pause = backoffMs(failures, { firstMs: FIRST_BACKOFF_MS, maxMs: maxBackoffMs }, random());
    await systemClock.wait(pause, signal);
  }
}

class Follower {
  readonly #log: TxLog;
  readonly #options: FollowOptions;
  #anchor: Anchor | undefined;
  // The last message yielded, hashed only when a comparison needs it.
  #last: LogMessage | undefined;
  #reachable: boolean | undefined;
  // The position after which nothing came though the log says that it goes on.
  #silentAt: number | undefined;

  constructor(log: TxLog, options: FollowOptions) {
    this.#log = log;
    this.#options = options;
    this.#anchor = options.anchor;
  }

  get lastPosition(): number {
    return this.#last?.position ?? this.#anchor?.position ?? (this.#options.from ?? 1) - 1;
  }

  tell(state: LogState): void {
    if (state.reachable === this.#reachable) return;
    this.#reachable = state.reachable;
    this.#options.onState?.(state);
  }

  /** One reading, from the anchor until it is interrupted. */
  async *readOnce(): AsyncGenerator<readonly LogMessage[], void, void> {
    const { signal, maxMessages, maxBytes, idleCheckMs = 10_000 } = this.#options;
    await this.#check();
    this.#options.onReading?.();
    const stop = new AbortController();
    const messages = this.#log.read(this.#currentAnchor()?.position ?? this.lastPosition + 1, {
      signal: AbortSignal.any([signal, stop.signal]),
      ...(maxMessages === undefined ? {} : { maxMessages }),
      ...(maxBytes === undefined ? {} : { maxBytes }),
    });
    const iterator = messages[Symbol.asyncIterator]();
    let atAnchor = this.#currentAnchor() !== undefined;
    try {
      let next = iterator.next();
      for (;;) {
        const result = await inTime(next, this.#patience(idleCheckMs));
        if (result === LATE) {
          await this.#check();
          const { last } = await this.#log.bounds();
          if (last <= this.lastPosition) continue;
          await this.#explainSilence(last);
          // Messages are there but do not come: whatever it is that stands still, a new reading replaces it.
          return;
        }
        if (result.done === true) return;
        const fresh = atAnchor ? await this.#afterAnchor(result.value) : result.value;
        atAnchor = false;
        await this.#verify(fresh);
        const last = fresh.at(-1);
        if (last !== undefined) {
          this.#last = last;
          yield fresh;
        }
        next = iterator.next();
      }
    } finally {
      stop.abort();
      await iterator.return?.();
    }
  }

  #patience(idleCheckMs: number): number {
    return this.#silentAt === this.lastPosition + 1 ? Math.min(SUSPICIOUS_MS, idleCheckMs) : idleCheckMs;
  }

  /** A hole at the log's end shows only by this, that nothing comes. Told at the second time, since replicas may lag. */
  async #explainSilence(last: number): Promise<void> {
    const next = this.lastPosition + 1;
    if ((await this.#log.fetch(next)) !== undefined) return;
    if (this.#silentAt !== next) {
      this.#silentAt = next;
      return;
    }
    let to = next;
    while (to < last && (await this.#log.fetch(to + 1)) === undefined) to += 1;
    await this.#throwMissing(next, to);
  }

  #currentAnchor(): Anchor | undefined {
    if (this.#last !== undefined && this.#last.position !== this.#anchor?.position) {
      this.#anchor = anchorOf(this.#last);
    }
    return this.#anchor;
  }

  async #check(): Promise<void> {
    const anchor = this.#currentAnchor();
    const error = anchor === undefined ? await this.#checkStart() : await checkAnchor(this.#log, anchor);
    this.tell({ reachable: true });
    if (error !== undefined) throw error;
  }

  async #checkStart(): Promise<CairnError | undefined> {
    const { first } = await this.#log.bounds();
    const from = this.lastPosition + 1;
    return first > from ? trimmed(this.#log.name, from, first - 1) : undefined;
  }

  /** What follows the anchor in the first array of a reading, which has to begin with it. */
  async #afterAnchor(messages: readonly LogMessage[]): Promise<readonly LogMessage[]> {
    const [first] = messages;
    const anchor = this.#anchor;
    if (first === undefined || anchor === undefined) return messages;
    if (first.position !== anchor.position) await this.#throwMissing(anchor.position, first.position - 1);
    if (anchorOf(first).sha256 !== anchor.sha256) throw otherMessage(this.#log.name, anchor.position);
    return messages.slice(1);
  }

  async #verify(messages: readonly LogMessage[]): Promise<void> {
    let expected = this.lastPosition + 1;
    for (const { position } of messages) {
      if (position !== expected) await this.#throwMissing(expected, position - 1);
      expected += 1;
    }
  }

  async #throwMissing(from: number, to: number): Promise<never> {
    const { first } = await this.#log.bounds();
    throw first > from
      ? trimmed(this.#log.name, from, Math.max(from, first - 1))
      : gap(this.#log.name, from, Math.max(from, to));
  }
}

/** Whether the log's server answers, and says that there is no such log. */
async function isMissing(log: TxLog): Promise<boolean> {
  try {
    return !(await log.exists());
  } catch (error) {
    if (isCairnError(error, "LOG_UNREACHABLE")) return false;
    throw error;
  }
}
