/**
 * Shares runs of `work` among concurrent callers. Each call is answered by a run that began after it; one runs at a time, and all calls
 * made during a run share the next one.
 */
export function coalesced<T>(work: () => Promise<T>): () => Promise<T> {
  let running: Promise<unknown> = Promise.resolve();
  let next: Promise<T> | undefined;
  return () => {
    next ??= running.then(async () => {
      next = undefined;
      return await work();
    });
    running = next.catch(() => undefined);
    return next;
  };
}
