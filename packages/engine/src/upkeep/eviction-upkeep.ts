import {
  type Clock,
  systemClock,
  errorMessage,
  isCairnError,
  type RepeatedWork,
  repeatWork,
} from "@cairn/kv";
import type { Logger } from "pino";
import { errorFields } from "../observe/failures.ts";
import type { IndexStore } from "../index/index-store.ts";

export interface EvictionParts {
  readonly index: Pick<IndexStore, "purgeEvictions">;
  readonly logger: Logger;
  /** Reports the error of a failed purge. */
  readonly suspect: (error: unknown) => void;
  readonly clock?: Clock;
}

const LOOK_EVERY_MS = 10_000;
/** The maximum duration of a purge, and of a capture's wait for one. The next purge continues the work. */
const MAX_PURGE_MS = 30_000;
/** The share is small, because compactions make writers wait for the disk. */
const MAX_SHARE = 0.1;

/**
 * Overwrites evicted content in the files of a ready node's index, soon after each eviction and before each capture.
 */
export class EvictionUpkeep {
  readonly #parts: EvictionParts;
  readonly #work: RepeatedWork;
  readonly #stopped = new AbortController();
  #purgedUpTo = 0;

  constructor(parts: EvictionParts) {
    this.#parts = parts;
    const times = { firstDelay: LOOK_EVERY_MS, retryDelay: () => LOOK_EVERY_MS };
    const work = async (signal: AbortSignal): Promise<number> => {
      const begunAt = performance.now();
      await this.#purge(signal);
      return Math.max(LOOK_EVERY_MS, (performance.now() - begunAt) * (1 / MAX_SHARE - 1));
    };
    this.#work = repeatWork(parts.clock ?? systemClock, times, work, (error) => this.#failed(error));
  }

  /** Purges for a limited time. Throws if it finds damage; other failures do not prevent the checkpoint. */
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

  /** Aborts a purge in progress and waits for it to end. */
  async stop(): Promise<void> {
    this.#stopped.abort();
    await this.#work.stop();
  }

  async #purge(signal: AbortSignal): Promise<void> {
    const { txId, held } = await this.#parts.index.purgeEvictions({ withinMs: MAX_PURGE_MS, signal });
    if (txId <= this.#purgedUpTo || held !== undefined) return;
    this.#purgedUpTo = txId;
    this.#parts.logger.debug({ txId }, "evicted content was removed from the files of the index");
  }

  #failed(error: unknown): void {
    const { logger, suspect } = this.#parts;
    suspect(error);
    logger.error(errorFields(error), `evicted content could not be purged: ${errorMessage(error)}`);
  }
}
