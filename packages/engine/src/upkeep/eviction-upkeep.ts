import { systemClock, errorMessage, isCairnError, repeatWork } from "@cairn/kv";
import type { Logger } from "pino";
import { errorFields } from "../observe/failures.ts";
import type { IndexStore } from "../index/index-store.ts";

const LOOK_EVERY_MS = 10_000;
/** The maximum duration of a purge, and of a capture's wait for one. The next purge continues the work. */
const MAX_PURGE_MS = 30_000;
/** The share is small, because compactions make writers wait for the disk. */
const MAX_SHARE = 0.1;

/**
 * Overwrites evicted content in the files of a ready node's index, soon after each eviction and before each capture.
 * `suspect` receives the errors of failed purges.
 */
export function startEvictionUpkeep(index: IndexStore, logger: Logger, suspect: (error: unknown) => void) {
  const stopped = new AbortController();
  let purgedUpTo = 0;
  const purge = async (signal: AbortSignal): Promise<void> => {
    const { txId, held } = await index.purgeEvictions({ withinMs: MAX_PURGE_MS, signal });
    if (txId <= purgedUpTo || held !== undefined) return;
    purgedUpTo = txId;
    logger.debug({ txId }, "evicted content was removed from the files of the index");
  };
  const failed = (error: unknown): void => {
    suspect(error);
    logger.error(errorFields(error), `evicted content could not be purged: ${errorMessage(error)}`);
  };
  const times = { firstDelay: LOOK_EVERY_MS, retryDelay: () => LOOK_EVERY_MS };
  const work = async (signal: AbortSignal): Promise<number> => {
    const begunAt = performance.now();
    await purge(signal);
    return Math.max(LOOK_EVERY_MS, (performance.now() - begunAt) * (1 / MAX_SHARE - 1));
  };
  const repeated = repeatWork(systemClock, times, work, failed);
  return {
    /** Purges for a limited time. Throws if it finds damage; other failures do not prevent the checkpoint. */
    async beforeCapture(): Promise<void> {
      const { signal } = stopped;
      if (signal.aborted) return;
      try {
        await purge(signal);
      } catch (error) {
        if (isCairnError(error, "INDEX_CORRUPT")) throw error;
        if (!signal.aborted) failed(error);
      }
    },
    async stop(): Promise<void> {
      stopped.abort();
      await repeated.stop();
    },
  };
}
