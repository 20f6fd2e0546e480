interface Sample {
  readonly at: number;
  readonly value: number;
}

const WINDOW_MS = 15_000;
const MAX_SAMPLES = 32;

/** The rates at which counters grow, by name, from their successive values. */
export class Rates {
  readonly #series = new Map<string, Sample[]>();

  /** Records the values of all counters at a time. Counters that are not named are forgotten. */
  record(at: number, counters: ReadonlyMap<string, unknown>): void {
    for (const name of this.#series.keys()) if (!counters.has(name)) this.#series.delete(name);
    for (const [name, value] of counters) {
      const series = this.#series.get(name) ?? [];
      const last = series.at(-1);
      if (typeof value !== "number" || (last !== undefined && value < last.value)) series.length = 0;
      if (typeof value === "number" && at !== series.at(-1)?.at) series.push({ at, value });
      while (series.length > MAX_SAMPLES || (series.length > 2 && (series[0]?.at ?? at) < at - WINDOW_MS)) {
        series.shift();
      }
      this.#series.set(name, series);
    }
  }

  /** Returns the growth per second of a counter; undefined before its second value. */
  perSecond(name: string): number | undefined {
    const series = this.#series.get(name) ?? [];
    const [first, last] = [series[0], series.at(-1)];
    if (first === undefined || last === undefined || last.at <= first.at) return undefined;
    return ((last.value - first.value) * 1_000) / (last.at - first.at);
  }
}
