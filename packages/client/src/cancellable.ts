import type { CallOptions } from "./types/client-types.ts";

/**
 * Yields what `each` makes of the items of a stream without an end. `return()` ends the stream at once, as when the
 * signal of its options is aborted. That of a plain generator would wait for the item for which `next()` is waiting.
 */
export function cancellable<Query extends CallOptions, Item, Yielded>(
  options: () => Query,
  open: (query: Query) => AsyncIterable<Item>,
  each: (item: Item) => Yielded | Promise<Yielded>,
): AsyncGenerator<Yielded, void, void> {
  const ending = new AbortController();
  const cancel = (): void => ending.abort();
  const generate = async function* (): AsyncGenerator<Yielded, void, void> {
    const query = options();
    const { signal } = query;
    if (signal?.aborted === true) cancel();
    // Node 20 collects a signal to which only AbortSignal.any refers.
    signal?.addEventListener("abort", cancel, { once: true });
    try {
      for await (const item of open({ ...query, signal: ending.signal })) yield await each(item);
    } finally {
      signal?.removeEventListener("abort", cancel);
    }
  };
  const generator = generate();
  const finish = generator.return.bind(generator);
  return Object.assign(generator, {
    return: async (value: void | PromiseLike<void>) => {
      cancel();
      return await finish(value);
    },
  });
}
