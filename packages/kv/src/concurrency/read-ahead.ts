/** Yields pages, and requests the next one while the consumer works on one. */
export async function* readAhead<T>(pages: AsyncIterable<T>): AsyncGenerator<T, void, void> {
  const iterator: AsyncIterator<T, unknown> = pages[Symbol.asyncIterator]();
  let next = iterator.next();
  try {
    for (;;) {
      const page = await next;
      if (page.done === true) return;
      next = iterator.next();
      // The consumer receives the error when it awaits the page.
      next.catch(() => {});
      yield page.value;
    }
  } finally {
    await Promise.allSettled([next]);
    await iterator.return?.();
  }
}
