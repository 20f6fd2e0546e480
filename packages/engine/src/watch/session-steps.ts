import type { FairReader } from "./fair-reads.ts";
import type { WatchFeed } from "./watch-feed.ts";

/** Takes the steps of a session of `feed`, which keeps no page while its reader has one. */
export async function* sessionSteps(
  { source: { pages }, listener }: WatchFeed,
  session: FairReader,
  steps: AsyncGenerator<void, void>,
): AsyncGenerator<void, void> {
  listener.opened();
  try {
    for await (const _ of steps) {
      yield;
      pages.release(session);
    }
  } finally {
    pages.release(session);
    listener.closed();
  }
}
