/** Returns the result of `work`, after whose end what it uses is closed. */
export async function closing<T extends { close(): Promise<unknown> }, R>(
  used: T,
  work: (used: T) => Promise<R>,
): Promise<R> {
  try {
    return await work(used);
  } finally {
    await used.close();
  }
}
