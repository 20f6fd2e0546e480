/** Lets one at a time go on, in the order in which they came. */
export class Turns {
  #last: Promise<void> = Promise.resolve();

  /** Waits for those who came before; what it answers lets the next one go on. */
  async take(): Promise<() => void> {
    const before = this.#last;
    const { promise, resolve } = resolvable();
    this.#last = promise;
    await before;
    return resolve;
  }
}

/** A promise that is resolved from outside. */
export function resolvable(): { readonly promise: Promise<void>; readonly resolve: () => void } {
  let resolve: (() => void) | undefined;
  const promise = new Promise<void>((done) => {
    resolve = done;
  });
  return { promise, resolve: () => resolve?.() };
}
