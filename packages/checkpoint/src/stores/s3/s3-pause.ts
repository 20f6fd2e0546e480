import { setTimeout } from "node:timers/promises";
import { isCairnError } from "@cairn/kv";

const FIRST_MS = 100;
const LONGEST_MS = 5_000;

/**
 * Waits before the next try: 100 ms × 2^`attempt`, 5 s at most, less by up to a half so that clients do not come all at once. Throws
 * the signal's reason.
 */
export async function pauseBefore(attempt: number, signal?: AbortSignal): Promise<void> {
  const most = Math.min(LONGEST_MS, FIRST_MS * 2 ** attempt);
  try {
    await setTimeout(most * (0.5 + Math.random() / 2), undefined, signal === undefined ? {} : { signal });
  } catch (error) {
    signal?.throwIfAborted();
    throw error;
  }
}

/**
 * Makes a request of a transfer again that failed for lack of an answer, `times` at most. Beside the repeating that every request has:
 * what was moved already is worth more patience than a listing.
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
