import { setTimeout } from "node:timers/promises";

const FIRST_MS = 100;
const LONGEST_MS = 5_000;

/** Waits before the next try: longer each time, and never all clients at once. Throws the signal's reason. */
export async function pauseBefore(attempt: number, signal?: AbortSignal): Promise<void> {
  const most = Math.min(LONGEST_MS, FIRST_MS * 2 ** attempt);
  try {
    await setTimeout(most * (0.5 + Math.random() / 2), undefined, signal === undefined ? {} : { signal });
  } catch (error) {
    signal?.throwIfAborted();
    throw error;
  }
}
