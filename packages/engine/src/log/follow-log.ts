import {
  backoffMs,
  systemClock,
  systemRandom,
  CairnError,
  isCairnError,
  TIMED_OUT,
  unlessFailed,
  withTimeout,
} from "@cairn/kv";
import {
  type Anchor,
  anchorOf,
  checkAnchor,
  gap,
  lacksNothing,
  otherMessage,
  shortened,
  trimmed,
  vanished,
} from "./anchor.ts";
import type { LogMessage, TxLog } from "./tx-log.ts";

/** If the log cannot be read, `error` is the reason. Reported after the first attempt and at each change. */
export interface LogState {
  readonly reachable: boolean;
  readonly error?: CairnError;
}

export interface FollowedLog extends Pick<
  TxLog,
  "name" | "exists" | "bounds" | "fetch" | "read" | "before" | "onRestored"
> {
  /** The last position alone, for a follower that has everything. Absent if `bounds` costs no more. */
  end?(): Promise<number>;
}

export interface FollowLogOptions {
  /** The first yielded message follows this one. Without an anchor, reading starts at `from`. */
  readonly anchor?: Anchor | undefined;
  /** The first position if there is no anchor. Defaults to 1, the position of the birth record. */
  readonly from?: number;
  /** The last position to yield; the log must have held it. Without it, reading continues with new messages. */
  readonly upTo?: number;
  readonly signal: AbortSignal;
  readonly onState?: ((state: LogState) => void) | undefined;
  /** Called whenever a reading begins, that is, at the start and after each interruption. */
  readonly onReading?: () => void;
  /**
   * Called when a reading has brought the message of the anchor itself, or begins without an anchor. Not called if the
   * log no longer holds that message: what the reading brings is then known to follow the anchor only by the log's id.
   */
  readonly onAnchored?: () => void;
  /** Called whenever a reading ends too early. Until the next one begins, the log may be a different one. */
  readonly onInterrupted?: () => void;
  /** The bound of one array, as in {@link TxLog.read}. */
  readonly maxMessages?: number | undefined;
  /** The time without messages after which the anchor is compared again (ms). Defaults to 10,000. */
  readonly idleCheckMs?: number;
  /** The maximum backoff after an interruption (ms). Defaults to 5,000. */
  readonly maxBackoffMs?: number;
}

const FIRST_BACKOFF_MS = 50;
/** The additional time to wait for a message that is within the log's bounds but has not arrived (ms). */
const LATE_MESSAGE_MS = 1_000;
/**
 * After how many consecutive attempts a missing log counts as gone. A cluster that just started may not know it yet.
 */
const MAX_MISSING_TRIES = 7;

/**
 * Yields the messages of `log` after the anchor, in order and without holes, in arrays that are never empty, and then
 * new messages as they arrive. Ends after the position `upTo` or when `signal` is aborted. After an interruption or
 * `LOG_UNREACHABLE`, it reads again. Every reading begins *at* the newest known message and compares it with the
 * anchor, because a consumer that resumes by position alone would continue in a different history without an error.
 *
 * Throws `LOG_REGRESSED`, `LOG_TRIMMED` or `LOG_GAP` before yielding anything that does not continue the previous
 * messages. Also throws `LOG_REGRESSED` if the log ends before `upTo`, because that message may never come, and
 * `LOG_DIFFERENT` if the log no longer exists although its server responds.
 */
export async function* followLog(
  log: FollowedLog,
  options: FollowLogOptions,
): AsyncGenerator<readonly LogMessage[], void, void> {
  const follower = new Follower(log, options);
  const { signal, upTo = Infinity, maxBackoffMs = 5_000 } = options;
  let failures = 0;
  let missing = 0;
  while (!signal.aborted && follower.lastPosition < upTo) {
    const before = follower.lastPosition;
    try {
      yield* follower.readOnce();
    } catch (error) {
      if (!isCairnError(error, "LOG_UNREACHABLE")) throw error;
      follower.report({ reachable: false, error });
      // The log's server may respond that there is no such log.
      missing = (await unlessFailed(log.exists(), "LOG_UNREACHABLE", true)) ? 0 : missing + 1;
      if (missing === MAX_MISSING_TRIES) throw vanished(log.name);
    }
    if (follower.lastPosition >= upTo) return;
    options.onInterrupted?.();
    failures = follower.lastPosition > before ? 0 : failures + 1;
    // Exponential backoff with jitter, so that nodes do not all return at the same moment.
    const pause = backoffMs(failures, { firstMs: FIRST_BACKOFF_MS, maxMs: maxBackoffMs }, systemRandom());
    if (await isRestoredWithin(log, pause, signal)) failures = 0;
  }
}

class Follower {
  readonly #log: FollowedLog;
  readonly #options: FollowLogOptions;
  #anchor: Anchor | undefined;
  // The last yielded message. It is hashed only if it must be compared.
  #last: LogMessage | undefined;
  #state: LogState | undefined;
  // The position at which no message arrived, although the log's bounds include later ones.
  #silentAt: number | undefined;

  constructor(log: FollowedLog, options: FollowLogOptions) {
    this.#log = log;
    this.#options = options;
    this.#anchor = options.anchor;
  }

  get lastPosition(): number {
    return this.#last?.position ?? this.#anchor?.position ?? (this.#options.from ?? 1) - 1;
  }

  report(state: LogState): void {
    const { reachable, error } = this.#state ?? {};
    if (state.reachable === reachable && state.error?.message === error?.message) return;
    this.#state = state;
    this.#options.onState?.(state);
  }

  async *readOnce(): AsyncGenerator<readonly LogMessage[], void, void> {
    const { signal, maxMessages, upTo = Infinity, idleCheckMs = 10_000 } = this.#options;
    await this.#check();
    this.#options.onReading?.();
    const stop = new AbortController();
    const messages = this.#log.read(this.#currentAnchor()?.position ?? this.lastPosition + 1, {
      signal: AbortSignal.any([signal, stop.signal]),
      maxMessages,
    });
    const iterator = messages[Symbol.asyncIterator]();
    let atAnchor = this.#currentAnchor() !== undefined;
    if (!atAnchor) this.#options.onAnchored?.();
    try {
      let next = iterator.next();
      for (;;) {
        const result = await withTimeout(next, this.#patience(idleCheckMs));
        if (result === TIMED_OUT) {
          await this.#check();
          this.report({ reachable: true });
          const last = await this.#end();
          if (last <= this.lastPosition) continue;
          await this.#explainSilence(last);
          // Messages exist but do not arrive. A new reading recovers from this, whatever the cause.
          return;
        }
        if (result.done === true) return;
        this.report({ reachable: true });
        const read = atAnchor ? await this.#afterAnchor(result.value) : result.value;
        atAnchor = false;
        const beyond = read.findIndex(({ position }) => position > upTo);
        const fresh = beyond < 0 ? read : read.slice(0, beyond);
        await this.#verify(fresh);
        const last = fresh.at(-1);
        if (last !== undefined) {
          this.#last = last;
          yield fresh;
          if (last.position >= upTo) return;
        }
        const after = read[beyond];
        if (after !== undefined) await this.#throwMissing(this.lastPosition + 1, after.position - 1);
        next = iterator.next();
      }
    } finally {
      stop.abort();
      await iterator.return?.();
    }
  }

  #patience(idleCheckMs: number): number {
    // A reading that does not yield the anchor's message, because the log lacks it, shows only by silence that it works.
    const isUnsure = this.#silentAt === this.lastPosition + 1 || this.#state?.reachable !== true;
    return isUnsure ? Math.min(LATE_MESSAGE_MS, idleCheckMs) : idleCheckMs;
  }

  /**
   * Throws if the next message is missing although the log's bounds include it; the only symptom is silence. Throws
   * only on the second call for the same position, because replicas may lag.
   */
  async #explainSilence(last: number): Promise<void> {
    const next = this.lastPosition + 1;
    if ((await this.#log.fetch(next)) !== undefined) return;
    if (this.#silentAt !== next) {
      this.#silentAt = next;
      return;
    }
    // Any later message would have been delivered.
    await this.#throwMissing(next, last);
  }

  #currentAnchor(): Anchor | undefined {
    if (this.#last !== undefined && this.#last.position !== this.#anchor?.position) {
      this.#anchor = anchorOf(this.#last);
    }
    return this.#anchor;
  }

  async #check(): Promise<void> {
    const anchor = this.#currentAnchor();
    const { name } = this.#log;
    if (anchor === undefined) {
      const bounds = await this.#log.bounds();
      if (!lacksNothing(this.lastPosition, bounds))
        throw trimmed(name, this.lastPosition + 1, bounds.first - 1);
    } else {
      const error = await checkAnchor(this.#log, anchor);
      if (error !== undefined) throw error;
    }
    const { upTo = 0 } = this.#options;
    const last = upTo === 0 ? 0 : await this.#end();
    if (last < upTo) throw shortened(name, last, upTo);
  }

  async #end(): Promise<number> {
    return (await this.#log.end?.()) ?? (await this.#log.bounds()).last;
  }

  /**
   * Returns the messages after the anchor in the first array of a reading, which must begin with the anchor, or after it
   * if the log no longer holds the anchor's message and lacks none of the later ones.
   */
  async #afterAnchor(messages: readonly LogMessage[]): Promise<readonly LogMessage[]> {
    const [first] = messages;
    const anchor = this.#anchor;
    if (first === undefined || anchor === undefined) return messages;
    if (first.position === anchor.position + 1) {
      const problem = await checkAnchor(this.#log, anchor);
      if (problem === undefined) return messages;
      throw problem;
    }
    if (first.position !== anchor.position) await this.#throwMissing(anchor.position, first.position - 1);
    if (anchorOf(first).sha256 !== anchor.sha256) throw otherMessage(this.#log.name, anchor.position);
    this.#options.onAnchored?.();
    return messages.slice(1);
  }

  async #verify(messages: readonly LogMessage[]): Promise<void> {
    let expected = this.lastPosition + 1;
    for (const { position } of messages) {
      if (position !== expected) await this.#throwMissing(expected, position - 1);
      expected += 1;
    }
  }

  /**
   * Throws the reason why messages within the log's bounds did not arrive. A server may leave out messages that it has
   * (nats-server 2.9, if it fails to read one from its cache), and another reading then receives them.
   */
  async #throwMissing(from: number, to: number): Promise<never> {
    const { name } = this.#log;
    const { first, last } = await this.#log.bounds();
    if (!lacksNothing(from - 1, { first })) throw trimmed(name, from, first - 1);
    throw (await this.#log.fetch(from)) === undefined
      ? gap(name, from, Math.max(from, to), last)
      : new CairnError(
          "LOG_UNREACHABLE",
          `The log "${name}" left out message ${from} when it was read, although it has it.`,
          "The node reads the message again until the log delivers it.",
        );
  }
}

/** Waits for `ms` or until the connection to the log is restored. Returns whether it was restored. */
async function isRestoredWithin(log: FollowedLog, ms: number, signal: AbortSignal): Promise<boolean> {
  const restored = new AbortController();
  const stopListening = log.onRestored?.(() => restored.abort());
  await systemClock.wait(ms, AbortSignal.any([signal, restored.signal]));
  stopListening?.();
  return restored.signal.aborted;
}
