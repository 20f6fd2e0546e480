/**
 * Returns a function that shares runs of `work`. Each call gets a run that began after the call; runs do not overlap,
 * and calls during a run share the next one. During `gather`, before a run, more calls can join it.
 */
export function coalesced<T>(work: () => Promise<T>, gather?: () => Promise<void>): () => Promise<T> {
  let running: Promise<unknown> = Promise.resolve();
  let next: Promise<T> | undefined;
  return () => {
    next ??= running.then(async () => {
      if (gather !== undefined) await gather();
      next = undefined;
      return await work();
    });
    running = next.catch(() => undefined);
    return next;
  };
}
