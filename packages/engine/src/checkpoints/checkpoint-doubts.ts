/**
 * The checkpoints that a node doubts until its process ends. It no longer restores those from which it twice restored
 * an index that turned out to be damaged (the first time, the disk may have been at fault). Damaged ones in its own
 * store do not count as saved.
 */
export class CheckpointDoubts {
  readonly distrusted: Set<string> = new Set();
  readonly #doubtful = new Set<string>();
  readonly #unusable = new Set<string>();

  damaged(restored: { readonly name: string } | null): void {
    if (restored === null) return;
    if (this.#doubtful.has(restored.name)) this.distrusted.add(restored.name);
    this.#doubtful.add(restored.name);
  }

  judged(name: string, whole: boolean): void {
    if (whole) this.#unusable.delete(name);
    else this.#unusable.add(name);
  }

  /** Returns whether this checkpoint is damaged, so that another one must be saved in its place. */
  isDamaged(name: string): boolean {
    return this.#unusable.has(name) || this.distrusted.has(name);
  }
}
