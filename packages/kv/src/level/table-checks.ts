import { closed, explainOperation } from "./level-errors.ts";
import type { ClaimedDirectory } from "./level-lock.ts";
import { checkUnchecked, type UncheckedTables } from "./unchecked-tables.ts";
import { type CairnError, isCairnError } from "../errors/errors.ts";
import type { KvScrub } from "../store/kv-store.ts";
import { checkLiveTables } from "../tables/check-live-tables.ts";
import { scrubTables } from "../tables/scrub-tables.ts";

/** The tables of an open store are compared with their checksums: those of an earlier life once, and all of them when asked. */
export class TableChecks {
  /** Once a table is known to be damaged, nothing may be answered that could come from it. */
  damage: CairnError | undefined;
  readonly #dir: string;
  readonly #claim: ClaimedDirectory;
  readonly #stop = new AbortController();
  readonly #running = new Set<Promise<unknown>>();
  #checked: Promise<void> = Promise.resolve();
  #onProgress: (done: number, total: number) => void = () => {};

  constructor(dir: string, claim: ClaimedDirectory) {
    this.#dir = dir;
    this.#claim = claim;
  }

  /** Begins to compare all tables without haste. */
  begin(): void {
    const checking = this.#track(checkLiveTables(this.#dir, this.#stop.signal));
    // A disk that cannot be read, for example, shows itself to whoever reads or writes.
    checking.catch(() => undefined);
  }

  /** Begins to compare what was not before the store was opened, as fast as one thread can. */
  beginUrgent(unchecked: UncheckedTables): void {
    let done = 0;
    const onChecked = (bytes: number): void => {
      done += bytes;
      this.#onProgress(Math.min(done, unchecked.bytes), unchecked.bytes);
    };
    this.#checked = this.#track(checkUnchecked(unchecked, this.#stop.signal, onChecked));
    // It is thrown to those who wait for it.
    this.#checked.catch(() => undefined);
  }

  /** Resolves once what {@link beginUrgent} began has ended well; rejects with its error. `onProgress` takes bytes; only one is called. */
  async checked(onProgress?: (done: number, total: number) => void): Promise<void> {
    if (onProgress !== undefined) this.#onProgress = onProgress;
    await this.#checked;
  }

  /** As {@link scrubTables}; `NOT_READY` when the store is closed meanwhile. */
  async scrub({ pause, signal }: KvScrub): Promise<number> {
    // Tables that somebody put in the place of these say nothing of them.
    if (!(await this.#claim.isThere())) return 0;
    const options = { pause, signal: AbortSignal.any([signal, this.#stop.signal]) };
    return await this.#track(scrubTables(this.#dir, options));
  }

  /** Ends what runs, which may take minutes, and waits for its end. */
  async stop(): Promise<void> {
    this.#stop.abort(closed(this.#dir));
    await Promise.allSettled(this.#running);
  }

  async #track<T>(work: Promise<T>): Promise<T> {
    const running = this.#watch(work);
    this.#running.add(running);
    try {
      return await running;
    } finally {
      this.#running.delete(running);
    }
  }

  async #watch<T>(work: Promise<T>): Promise<T> {
    try {
      const done = await work;
      this.#stop.signal.throwIfAborted();
      return done;
    } catch (error) {
      if (isCairnError(error, "INDEX_CORRUPT") && (await this.#claim.isThere())) this.damage ??= error;
      throw explainOperation(error, this.#dir);
    }
  }
}
