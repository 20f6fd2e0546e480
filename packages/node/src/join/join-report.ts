import type { CairnError } from "@cairn/kv";
import type { CheckpointerStatus, CheckpointStore } from "@cairn/checkpoint";
import type { NodeStatus } from "@cairn/client";
import type { MovedAside } from "../db-dir/index-directory.ts";

type Progress = NonNullable<NodeStatus["progress"]>;
type Join = NodeStatus["join"];

/** What happened while a node joined: kept up to date as it happens, read by /status. */
export class JoinReport {
  restoredFrom: Join["restoredFrom"] = null;
  /** The checkpoint that was restored: the newest known until the checkpointer has looked at the store. */
  restoredCheckpoint: CheckpointerStatus["last"] = null;
  skipped: Join["skipped"] = [];
  /** The checkpoint stores that are asked what they have: what the node waits for meanwhile. */
  asking: readonly CheckpointStore[] = [];
  /** Names of those of them that lie damaged where this node saves. */
  damaged: readonly string[] = [];
  movedAside: MovedAside[] = [];
  /** The log has nothing yet, and the checkpoints that are there are all of another: somebody may have meant that one. */
  apart: CairnError | undefined;
  orphans = 0;
  replayed = 0;
  readyAfterMs: number | null = null;
  /** `since` by `#now`, when `done` was `from`: the rate counts from there. */
  #progress: { unit: Progress["unit"]; done: number; total: number; since: number; from: number } | undefined;
  readonly #now: () => number;

  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** The join part of /status. */
  get join(): Join {
    const { restoredFrom, skipped, movedAside, orphans, replayed, readyAfterMs } = this;
    return {
      restoredFrom,
      skipped: [...skipped],
      movedAside: [...movedAside],
      orphans,
      replayed,
      readyAfterMs,
    };
  }

  /** `done` of `total` bytes or transactions; the rate counts from the first call of a unit. */
  advance(unit: Progress["unit"], done: number, total: number): void {
    if (this.#progress?.unit !== unit || done < this.#progress.done) {
      this.#progress = { unit, done, total, since: this.#now(), from: done };
    } else {
      this.#progress.done = done;
      this.#progress.total = total;
    }
  }

  /** Does `work`, which waits for these stores, or, with none, for something else within what waits for some. */
  async whileAsking<T>(stores: readonly CheckpointStore[], work: () => Promise<T>): Promise<T> {
    const before = this.asking;
    this.asking = stores;
    try {
      return await work();
    } finally {
      this.asking = before;
    }
  }

  /** Nothing long is under way. */
  finish(): void {
    this.#progress = undefined;
  }

  /** The progress part of /status; the time left is an estimate from the rate so far. */
  get progress(): Progress | null {
    if (this.#progress === undefined) return null;
    const { unit, done, total, since, from } = this.#progress;
    const elapsed = this.#now() - since;
    const etaMs = done > from ? Math.round((elapsed / (done - from)) * Math.max(0, total - done)) : null;
    return { unit, done, total, etaMs };
  }
}
