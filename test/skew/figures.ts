/** What a campaign did, counted; and what it found broken. */
export class Figures {
  readonly violations: string[] = [];
  readonly #counts = new Map<string, number>();

  count(what: string, by = 1): void {
    this.#counts.set(what, (this.#counts.get(what) ?? 0) + by);
  }

  violated(sentence: string): void {
    this.violations.push(sentence);
  }

  /** A line for each count, in the order of their names. */
  lines(): string[] {
    return [...this.#counts].toSorted().map(([what, count]) => `  ${what}: ${count}`);
  }
}
