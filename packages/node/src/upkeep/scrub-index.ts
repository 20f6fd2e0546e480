import { type Clock, systemClock } from "@cairn/checkpoint";
import { errorMessage } from "@cairn/kv";
import type { Logger } from "pino";
import { type RepeatedWork, repeatWork } from "../concurrency/repeated-work.ts";
import type { IndexStore } from "../index/index-store.ts";
import { errorFields } from "../observe/failures.ts";
import type { EventDispatcher } from "../observe/event-dispatcher.ts";

/** What a scrub works with; the clock is the machine's when left out. */
export interface ScrubParts {
  readonly index: Pick<IndexStore, "scrub">;
  /** How long one pass over all tables shall take, and how soon the next begins (ms); no scrub when undefined. */
  readonly every: number | undefined;
  readonly events: EventDispatcher;
  readonly logger: Logger;
  /** Told what a pass failed with. */
  readonly suspect: (error: unknown) => void;
  readonly clock?: Clock;
}

/**
 * Bytes a second at most, however short the period or long the node stood still. Less is read than what hardly disturbs a writer
 * (`gentleRate` in packages/checkpoint); at twice the rate the event loop was busy for 4 to 6 % of the time.
 */
const FASTEST = 8 * 1024 * 1024;
/** After a pass that could not read something (ms), at most; a tenth of the period where that is shorter. */
const LONGEST_RETRY_MS = 600_000;

/**
 * Compares all tables of an index with their checksums again and again, each pass spread over the period; undefined where nothing of it lies
 * on a disk, or it is turned off. Damage is told as a failed `scrub`, and then to `suspect`.
 */
export function startScrub(parts: ScrubParts): RepeatedWork | undefined {
  const { index, every, events, logger, suspect, clock = systemClock } = parts;
  const { scrub } = index;
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
  const retryDelay = (): number => Math.min(LONGEST_RETRY_MS, every / 10);
  return repeatWork(clock, { firstDelay: 0, retryDelay }, work, (error) => {
    suspect(error);
    if (events.hasReported(error)) return;
    logger.error(errorFields(error), `the tables of the index could not be compared: ${errorMessage(error)}`);
  });
}

/** How long a pass that began `elapsedMs` ago and has compared `done` of `total` bytes, the last `piece` just now, waits before it goes on (ms). */
export function scrubPause(pass: {
  readonly done: number;
  readonly total: number;
  readonly piece: number;
  readonly elapsedMs: number;
  readonly every: number;
}): number {
  const { done, total, piece, elapsedMs, every } = pass;
  const dueMs = total > 0 ? (done / total) * every : 0;
  return Math.max(dueMs - elapsedMs, (piece / FASTEST) * 1_000);
}
