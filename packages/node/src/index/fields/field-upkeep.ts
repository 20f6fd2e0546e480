import type { KvStore } from "@cairn/kv";
import { type FieldStep, type FieldWork, readFieldWork, stepFieldWork } from "./field-builds.ts";
import type { IndexState } from "../rows/index-state.ts";
import { resolvable } from "../../concurrency/resolvable.ts";

/** What the indexed fields of one store still need, and what is known of their counts. All but waiting is for whoever has the turn to write. */
export class FieldUpkeep {
  readonly #kv: KvStore;
  /** Undefined where it has to be read: should that fail, whoever comes next reads it. */
  #work: FieldWork | undefined;
  /** Wakes {@link toDo}. */
  #changed: () => void = () => {};

  constructor(kv: KvStore) {
    this.#kv = kv;
  }

  async work(): Promise<FieldWork> {
    this.#work ??= await readFieldWork(this.#kv);
    return this.#work;
  }

  /** A batch was written, perhaps with other definitions of what is indexed. */
  written(isConfigured: boolean): void {
    this.#work?.counts.written();
    if (!isConfigured) return;
    this.#work = undefined;
    this.#changed();
  }

  /** Does a part of it. */
  async step(state: IndexState, step: FieldStep): Promise<void> {
    const work = await this.work();
    // Of a step that fails some batches may be written: only the store knows then what is left.
    this.#work = undefined;
    this.#work = await stepFieldWork(this.#kv, state, work, step);
  }

  /** Whether nothing is left. */
  get isDone(): boolean {
    return this.#work !== undefined && this.#work.builds.size === 0 && this.#work.removals.length === 0;
  }

  /** Resolves when there is something to do, or `signal` aborts. */
  async toDo(signal: AbortSignal): Promise<void> {
    const { promise, resolve } = resolvable();
    this.#changed = resolve;
    signal.addEventListener("abort", resolve);
    if (!signal.aborted && this.isDone) await promise;
    signal.removeEventListener("abort", resolve);
  }
}
