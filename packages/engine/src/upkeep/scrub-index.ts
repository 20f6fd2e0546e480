import { type Clock, systemClock, type KvStore, type RepeatedWork, repeatWork } from "@cairn/kv";
import type { EventDispatcher } from "../observe/event-dispatcher.ts";

interface ScrubParts {
  readonly index: { readonly rows: Pick<KvStore, "scrub"> };
  /** The time from the beginning of one pass to that of the next (ms); undefined disables scrubs. */
  readonly every: number | undefined;
  readonly events: EventDispatcher;
  readonly suspect: (error: unknown) => void;
  readonly clock?: Clock;
}

/**
 * The rate limit, which applies no matter how short the period is or how long the node was suspended. It is lower than
 * the rate that hardly disturbs a writer (`gentleRate` in packages/checkpoint). At twice the limit, the event loop was
 * busy for 4 to 6 % of the time.
 */
const MAX_BYTES_PER_SECOND = 8 * 1024 * 1024;
/** The maximum pause after a failed pass. The pause is a tenth of the period, up to this maximum. */
const MAX_RETRY_MS = 600_000;

/**
 * Repeatedly compares all tables of an index with their checksums. Each pass is spread over the period. Returns
 * undefined if the index is not on disk or scrubs are disabled. Reports damage as a failed `scrub`, and to `suspect`.
 */
export function startScrub(parts: ScrubParts): RepeatedWork | undefined {
  const { index, every, events, suspect, clock = systemClock } = parts;
  const scrub = index.rows.scrub?.bind(index.rows);
  if (every === undefined || scrub === undefined) return undefined;
  const work = async (signal: AbortSignal): Promise<number> => {
    const begunAt = clock.now();
    let before = 0;
    await events.observe("scrub", async (run) => {
      const pause = async (done: number, total: number, ended: AbortSignal): Promise<void> => {
        run.moved(done);
        const elapsedMs = clock.now() - begunAt;
        const pauseMs = scrubPause({ done, total, piece: done - before, elapsedMs, every });
        before = done;
        await clock.wait(pauseMs, ended);
      };
      run.moved(await scrub({ pause, signal }));
      run.ended({ outcome: "whole" });
    });
    return Math.max(0, every - (clock.now() - begunAt));
  };
  const retryDelay = (): number => Math.min(MAX_RETRY_MS, every / 10);
  return repeatWork(clock, { firstDelay: 0, retryDelay }, work, suspect);
}

/**
 * Returns the next pause of a pass (ms), which is spread over `every` and never faster than the limit. The pass began
 * `elapsedMs` ago and has compared `done` of `total` bytes; the last `piece` bytes were compared just now.
 */
export function scrubPause(pass: {
  readonly done: number;
  readonly total: number;
  readonly piece: number;
  readonly elapsedMs: number;
  readonly every: number;
}): number {
  const { done, total, piece, elapsedMs, every } = pass;
  const dueMs = total > 0 ? (done / total) * every : 0;
  return Math.max(dueMs - elapsedMs, (piece / MAX_BYTES_PER_SECOND) * 1_000);
}
