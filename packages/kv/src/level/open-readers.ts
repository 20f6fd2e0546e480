import { wait } from "../concurrency/timer.ts";

/**
 * Keeps track of readers of earlier states of a store: snapshots, ranges and multi-row reads. For such readers, LevelDB
 * keeps rows that have been removed since, even in tables that it rewrites.
 */
export class OpenReaders {
  /** The ids of open readers, in the order in which they were opened. */
  readonly #open = new Set<number>();
  #next = 0;
  #waiting: { readonly before: number; readonly resolve: () => void }[] = [];

  /** Registers a reader. The returned function unregisters it, and may be called twice. */
  open(): () => void {
    const id = this.#next++;
    this.#open.add(id);
    return () => {
      this.#open.delete(id);
      for (const { before, resolve } of this.#waiting) if (this.#oldest() >= before) resolve();
    };
  }

  /** Returns a mark for {@link ended} that comes after the currently open readers. */
  mark(): number {
    return this.#next;
  }

  /** Waits at most `withinMs` for the readers opened before `mark` to close. Returns whether all have been closed. */
  async ended(mark: number, withinMs: number, signal?: AbortSignal): Promise<boolean> {
    if (this.#oldest() >= mark) return true;
    const late = new AbortController();
    const either = signal === undefined ? late.signal : AbortSignal.any([signal, late.signal]);
    await new Promise<void>((resolve) => {
      this.#waiting.push({ before: mark, resolve });
      void wait(withinMs, either, { background: true }).then(() => resolve());
    });
    late.abort();
    this.#waiting = this.#waiting.filter(({ before }) => before !== mark);
    signal?.throwIfAborted();
    return this.#oldest() >= mark;
  }

  #oldest(): number {
    const [oldest = Infinity] = this.#open;
    return oldest;
  }
}
