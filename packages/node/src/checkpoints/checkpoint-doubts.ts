/**
 * The doubts of a node about checkpoints, until its process ends: which checkpoints it no longer restores (because their index proved
 * damaged twice; the first time may have been the disk's fault), and which in its store do not count as saved.
 */
export class CheckpointDoubts {
  /** The names of checkpoints that are no longer restored. */
  readonly distrusted: Set<string> = new Set();
  /** The names of checkpoints whose index proved damaged once. */
  readonly #doubtful = new Set<string>();
  /** The names of damaged checkpoints in the node's own store. */
  readonly #unusable = new Set<string>();

  /** Notes that the index restored from this checkpoint proved damaged; null: no checkpoint was restored. */
  damaged(restored: { readonly name: string } | null): void {
    if (restored === null) return;
    if (this.#doubtful.has(restored.name)) this.distrusted.add(restored.name);
    this.#doubtful.add(restored.name);
  }

  /** Notes whether a checkpoint in the node's store is whole or damaged. */
  judged(name: string, whole: boolean): void {
    if (whole) this.#unusable.delete(name);
    else this.#unusable.add(name);
  }

  /** Notes damaged checkpoints in the node's store that joining skipped, so that they do not keep a whole one from being saved. */
  passedOver(damaged: readonly string[]): void {
    for (const name of damaged) this.judged(name, false);
  }

  /** Returns whether another checkpoint must be saved in place of this one. */
  isDamaged(name: string): boolean {
    return this.#unusable.has(name) || this.distrusted.has(name);
  }
}
