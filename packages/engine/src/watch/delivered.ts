/**
 * Returns what `begin` delivers, one at a time: it delivers at most once before each `yield`, and at its end. This is no
 * generator, and those behind it yield nothing: the frame of a suspended generator keeps what it last yielded, which
 * would be a page for each watcher that waits.
 */
export function delivered<T>(
  begin: (deliver: (batch: T) => void) => AsyncGenerator<void, void>,
): AsyncIterable<T> {
  return { [Symbol.asyncIterator]: () => new Delivered(begin) };
}

class Delivered<T> implements AsyncIterator<T, void> {
  readonly #ready: T[] = [];
  readonly #steps: AsyncGenerator<void, void>;

  constructor(begin: (deliver: (batch: T) => void) => AsyncGenerator<void, void>) {
    this.#steps = begin((batch) => this.#ready.push(batch));
  }

  async next(): Promise<IteratorResult<T, void>> {
    await this.#steps.next();
    const value = this.#ready.shift();
    return value === undefined ? { done: true, value: undefined } : { done: false, value };
  }

  async return(): Promise<IteratorReturnResult<void>> {
    await this.#steps.return();
    return { done: true, value: undefined };
  }
}
