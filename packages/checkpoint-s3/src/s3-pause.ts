import { isCairnError, backoffMs, systemClock, systemRandom } from "@cairn/kv";

const BACKOFF = { firstMs: 100, maxMs: 5_000 };

/** Waits after attempt `attempt`, counted from 0: 100 ms, doubling up to 5 s, with jitter. Throws `signal`'s reason. */
export async function pauseBefore(attempt: number, signal?: AbortSignal): Promise<void> {
  await systemClock.wait(backoffMs(attempt, BACKOFF, systemRandom()), signal);
  signal?.throwIfAborted();
}

/**
 * Retries a request of a transfer while the store is unreachable, up to `times` attempts. These are in addition to the
 * retries of every request, because data that has already been transferred justifies more patience than a listing.
 */
export async function persist<T>(times: number, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
  for (let time = 1; ; time++) {
    try {
      return await work();
    } catch (error) {
      if (!isCairnError(error, "STORE_UNREACHABLE") || time >= times) throw error;
      await pauseBefore(time + 1, signal);
    }
  }
}
