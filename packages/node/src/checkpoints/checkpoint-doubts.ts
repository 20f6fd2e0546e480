/**
 * What a node knows against checkpoints, as long as its process lives: which ones it no longer restores from (their index proved damaged
 * twice; once, it may have been its disk), and which of its store do not count as saved.
 */
export class CheckpointDoubts {
  /** Names of checkpoints. */
  readonly distrusted: Set<string> = new Set();
  /** Those whose index proved damaged once. */
  readonly #doubtful = new Set<string>();
  /** Those of the node's own store that were read back and found damaged. */
  readonly #unusable = new Set<string>();

  /** The index restored from it proved damaged; null where none was restored. */
  damaged(restored: { readonly name: string } | null): void {
    if (restored === null) return;
    if (this.#doubtful.has(restored.name)) this.distrusted.add(restored.name);
    this.#doubtful.add(restored.name);
  }

  /** A checkpoint of the node's store was read back, and is whole or damaged. */
  judged(name: string, whole: boolean): void {
    if (whole) this.#unusable.delete(name);
    else this.#unusable.add(name);
  }

  /** What joining passed over as damaged, where the node saves, must not stand in the way of a checkpoint that is whole. */
  passedOver(damaged: readonly string[]): void {
    for (const name of damaged) this.judged(name, false);
  }

  /** Whether another one must be saved in its place. */
  isDamaged(name: string): boolean {
    return this.#unusable.has(name) || this.distrusted.has(name);
  }
}
