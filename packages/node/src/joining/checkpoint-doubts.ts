/** Which checkpoints a node no longer restores from: those whose index proved damaged twice. Once, it may have been its disk. */
export class CheckpointDoubts {
  /** Names of checkpoints. */
  readonly distrusted: Set<string> = new Set();
  readonly #doubtful = new Set<string>();

  /** The index restored from it proved damaged; null where none was restored. */
  damaged(restored: { readonly name: string } | null): void {
    if (restored === null) return;
    if (this.#doubtful.has(restored.name)) this.distrusted.add(restored.name);
    this.#doubtful.add(restored.name);
  }
}
