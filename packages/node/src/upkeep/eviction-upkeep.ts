import { type Clock, systemClock } from "@cairn/checkpoint";
import { errorMessage, isCairnError } from "@cairn/kv";
import type { Logger } from "pino";
import { type RepeatedWork, repeatWork } from "../concurrency/repeated-work.ts";
import { errorFields } from "../observe/failures.ts";
import type { IndexStore } from "../index/index-store.ts";

/** What the upkeep of evictions works with; the clock is the machine's when left out. */
export interface EvictionParts {
  readonly index: Pick<IndexStore, "purgeEvictions">;
  readonly logger: Logger;
  /** Told what a purge failed with. */
  readonly suspect: (error: unknown) => void;
  readonly clock?: Clock;
}

/** How often it is looked whether something was evicted (ms). */
const EVERY_MS = 10_000;
/** How long one purge may take, and how long a capture waits for it (ms); the next one goes on. */
const WITHIN_MS = 30_000;
/** The part of the time that purging takes, at most: compactions make writers wait for the disk. */
const SHARE = 0.1;

/** Overwrites what was evicted in the files of a ready node's index: soon after each eviction, and before the next capture. */
export class EvictionUpkeep {
  readonly #parts: EvictionParts;
  readonly #work: RepeatedWork;
  readonly #stopped = new AbortController();
  #told = 0;

  constructor(parts: EvictionParts) {
    this.#parts = parts;
    const times = { firstDelay: EVERY_MS, retryDelay: () => EVERY_MS };
    const work = async (signal: AbortSignal): Promise<number> => {
      const begunAt = performance.now();
      await this.#purge(signal);
      return Math.max(EVERY_MS, (performance.now() - begunAt) * (1 / SHARE - 1));
    };
    this.#work = repeatWork(parts.clock ?? systemClock, times, work, (error) => this.#failed(error));
  }

  /** Purges what was evicted so far, as long as a capture can wait. Damage is thrown; what else fails does not keep a checkpoint from being saved. */
  async beforeCapture(): Promise<void> {
    const { signal } = this.#stopped;
    if (signal.aborted) return;
    try {
      await this.#purge(signal);
    } catch (error) {
      if (isCairnError(error, "INDEX_CORRUPT")) throw error;
      if (!signal.aborted) this.#failed(error);
    }
  }

  /** Aborts what runs and waits for its end. */
  async stop(): Promise<void> {
    this.#stopped.abort();
    await this.#work.stop();
  }

  async #purge(signal: AbortSignal): Promise<void> {
    const { txId, held } = await this.#parts.index.purgeEvictions({ withinMs: WITHIN_MS, signal });
    if (txId <= this.#told || held !== undefined) return;
    this.#told = txId;
    this.#parts.logger.debug({ txId }, "what was evicted is gone from the files of the index");
  }

  #failed(error: unknown): void {
    const { logger, suspect } = this.#parts;
    suspect(error);
    logger.error(errorFields(error), `what was evicted could not be purged: ${errorMessage(error)}`);
  }
}
