import type { CairnError } from "@cairn/kv";
import type { CheckpointerStatus, CheckpointStore } from "@cairn/checkpoint";
import type { NodeStatus } from "@cairn/client";
import type { MovedAside } from "../db-dir/index-directory.ts";

type Progress = NonNullable<NodeStatus["progress"]>;
type Join = NodeStatus["join"];

export class JoinReport {
  restoredFrom: Join["restoredFrom"] = null;
  /** The restored checkpoint. Until the checkpointer has looked at the store, it is the newest known checkpoint. */
  restoredCheckpoint: CheckpointerStatus["last"] = null;
  skipped: Join["skipped"] = [];
  asking: readonly CheckpointStore[] = [];
  /** The number of manifests read so far. */
  manifests = 0;
  /** The names of skipped checkpoints that are damaged in the store to which this node saves. */
  damaged: readonly string[] = [];
  movedAside: MovedAside[] = [];
  /** The log is empty, while all checkpoints in the stores belong to another log, which may be the intended one. */
  wrongLog: CairnError | undefined;
  orphans = 0;
  uncompared: readonly string[] = [];
  replayed = 0;
  readyAfterMs: number | null = null;
  /** The progress. The rate is measured from the time `since` (by `#now`), when `done` was `from`. */
  #progress: { unit: Progress["unit"]; done: number; total: number; since: number; from: number } | undefined;
  readonly #now: () => number;

  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** Returns the report of the next attempt to join. What was moved aside, and what is in quarantine, stays known. */
  next(): JoinReport {
    const { movedAside, orphans, uncompared } = this;
    return Object.assign(new JoinReport(this.#now), { movedAside, orphans, uncompared });
  }

  get join(): Join {
    const { restoredFrom, skipped, movedAside, orphans, uncompared, replayed, readyAfterMs } = this;
    return {
      restoredFrom,
      skipped: [...skipped],
      movedAside: [...movedAside],
      orphans,
      uncompared,
      replayed,
      readyAfterMs,
    };
  }

  readonly onRead = (): void => void (this.manifests += 1);

  /** Sets the progress to `done` of `total` units. The rate is measured from the first call with this unit. */
  advance(unit: Progress["unit"], done: number, total: number): void {
    if (this.#progress?.unit !== unit || done < this.#progress.done) {
      this.#progress = { unit, done, total, since: this.#now(), from: done };
    } else {
      this.#progress.done = done;
      this.#progress.total = total;
    }
  }

  /** Nested in a call that waits for stores, an empty list means that `work` waits for something else. */
  async whileAsking<T>(stores: readonly CheckpointStore[], work: () => Promise<T>): Promise<T> {
    const before = this.asking;
    this.asking = stores;
    return await work().finally(() => (this.asking = before));
  }

  finish(): void {
    this.#progress = undefined;
  }

  /** Returns the `progress` part of /status. `etaMs` is an estimate from the rate so far. */
  get progress(): Progress | null {
    if (this.#progress === undefined) return null;
    const { unit, done, total, since, from } = this.#progress;
    const elapsed = this.#now() - since;
    const etaMs = done > from ? Math.round((elapsed / (done - from)) * Math.max(0, total - done)) : null;
    return { unit, done, total, etaMs };
  }
}
