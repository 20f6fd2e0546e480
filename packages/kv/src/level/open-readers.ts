import { setTimeout as delay } from "node:timers/promises";

/**
 * Who reads an earlier state of a store: its snapshots, its ranges and what is being read at once. LevelDB keeps for them what was removed
 * since, in its tables too when it rewrites them.
 */
export class OpenReaders {
  /** In the order in which they were opened. */
  readonly #open = new Set<number>();
  #next = 0;
  #waiting: { readonly before: number; readonly resolve: () => void }[] = [];

  /** One more; what it answers says that it was closed, and may be called twice. */
  open(): () => void {
    const id = this.#next++;
    this.#open.add(id);
    return () => {
      this.#open.delete(id);
      if (this.#waiting.length > 0) this.#wake();
    };
  }

  /** What {@link ended} waits for: those that are open now. */
  mark(): number {
    return this.#next;
  }

  /** Waits for those that were open at `mark`, but no longer than `withinMs`. Answers whether they were all closed. */
  async ended(mark: number, withinMs: number, signal?: AbortSignal): Promise<boolean> {
    if (this.#oldest() >= mark) return true;
    const late = new AbortController();
    const either = signal === undefined ? late.signal : AbortSignal.any([signal, late.signal]);
    await new Promise<void>((resolve) => {
      this.#waiting.push({ before: mark, resolve });
      void delay(withinMs, undefined, { signal: either, ref: false }).then(resolve, resolve);
    });
    late.abort();
    this.#waiting = this.#waiting.filter(({ before }) => before !== mark);
    signal?.throwIfAborted();
    return this.#oldest() >= mark;
  }

  #wake(): void {
    const oldest = this.#oldest();
    for (const { before, resolve } of this.#waiting) if (oldest >= before) resolve();
  }

  #oldest(): number {
    const [oldest = Infinity] = this.#open;
    return oldest;
  }
}
