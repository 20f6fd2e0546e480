/**
 * Work that many callers ask for at once, made into few runs: each call is answered by a run that began after it. One runs at a time, and
 * all who call meanwhile share the next.
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
