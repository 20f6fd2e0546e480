import type { KvStore } from "@cairn/kv";
import { type FieldStep, type FieldWork, readFieldWork, stepFieldWork } from "./field-builds.ts";
import type { IndexState } from "../rows/index-state.ts";
import { resolvable } from "../../concurrency/resolvable.ts";

/** Except for {@link workArrives}, only the current writer of the store may use it. */
export class FieldUpkeep {
  readonly #kv: KvStore;
  /** The remaining work; undefined if it must be read, or read again. */
  #work: FieldWork | undefined;
  #changed: () => void = () => {};

  constructor(kv: KvStore) {
    this.#kv = kv;
  }

  async work(): Promise<FieldWork> {
    this.#work ??= await readFieldWork(this.#kv);
    return this.#work;
  }

  /** Records that a batch was written. `isConfigured` is true if the batch may have changed the indexed fields. */
  written(isConfigured: boolean): void {
    this.#work?.counts.written();
    if (!isConfigured) return;
    this.#work = undefined;
    this.#changed();
  }

  async step(state: IndexState, step: FieldStep): Promise<void> {
    const work = await this.work();
    // A failed step may have written some batches, so the remaining work must be read from the store.
    this.#work = undefined;
    this.#work = await stepFieldWork(this.#kv, state, work, step);
  }

  get isDone(): boolean {
    return this.#work !== undefined && this.#work.builds.size === 0 && this.#work.removals.length === 0;
  }

  /** Resolves when there is work, or when `signal` is aborted. */
  async workArrives(signal: AbortSignal): Promise<void> {
    const { promise, resolve } = resolvable();
    this.#changed = resolve;
    signal.addEventListener("abort", resolve);
    if (!signal.aborted && this.isDone) await promise;
    signal.removeEventListener("abort", resolve);
  }
}
