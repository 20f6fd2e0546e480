/**
 * Returns a function that shares runs of `work` among concurrent callers. Each call returns the result of a run that
 * began after the call. Runs do not overlap, and all calls made during a run share the next run. A run begins after
 * `gather`, during which more calls can join the run.
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
