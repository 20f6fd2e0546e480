/**
 * Returns a function that shares runs of `work` among concurrent callers. Each call is answered by a run that began after it. Runs do not
 * overlap, and all calls made during a run share the next one. A run begins after `gather`, during which further calls can join it.
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
