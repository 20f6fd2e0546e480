/** The counts of a campaign's actions, and the violations that it found. */
export class Figures {
  readonly violations: string[] = [];
  readonly #counts = new Map<string, number>();

  count(what: string, by = 1): void {
    this.#counts.set(what, (this.#counts.get(what) ?? 0) + by);
  }

  violated(sentence: string): void {
    this.violations.push(sentence);
  }

  /** Returns a line for each count, sorted by name. */
  lines(): string[] {
    return [...this.#counts].toSorted().map(([what, count]) => `  ${what}: ${count}`);
  }
}
