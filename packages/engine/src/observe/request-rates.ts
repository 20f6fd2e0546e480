import type { RequestRate } from "@cairn/client";

/** The period over which requests are counted (s), one slot for each second. */
const PERIOD_S = 60;
/** The upper bounds of the durations that are distinguished grow by this factor, from the smallest one (ms). */
const FACTOR = 1.2;
const SMALLEST_MS = 0.02;
const CLASSES = 80;

/** Counts the requests of one kind within the last minute, by duration, in memory of a fixed size. */
export class RequestRates {
  readonly #now: () => number;
  readonly #startedAt: number;
  /** The number of requests, by slot and class. */
  readonly #counts = new Uint32Array(PERIOD_S * CLASSES);
  #second: number;

  /** `now` returns a monotonic time in milliseconds. */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
    this.#startedAt = now();
    this.#second = Math.floor(now() / 1_000);
  }

  note(ms: number): void {
    this.#advance();
    const above = Math.ceil(Math.log(ms / SMALLEST_MS) / Math.log(FACTOR));
    const at = Math.min(CLASSES - 1, Math.max(0, above));
    const slot = (this.#second % PERIOD_S) * CLASSES + at;
    this.#counts[slot] = (this.#counts[slot] ?? 0) + 1;
  }

  /** Returns the rate and the durations, of which each is at most a fifth too large. */
  current(): RequestRate {
    this.#advance();
    const totals = Array.from({ length: CLASSES }, () => 0);
    for (const [at, count] of this.#counts.entries())
      totals[at % CLASSES] = (totals[at % CLASSES] ?? 0) + count;
    const all = totals.reduce((sum, count) => sum + count, 0);
    const seconds = Math.min(PERIOD_S, Math.max(1, (this.#now() - this.#startedAt) / 1_000));
    return {
      perSecond: Math.round((all / seconds) * 1_000) / 1_000,
      p50Ms: quantile(totals, all, 0.5),
      p99Ms: quantile(totals, all, 0.99),
    };
  }

  /** Clears the slots of the seconds that have passed. */
  #advance(): void {
    const second = Math.floor(this.#now() / 1_000);
    for (let passed = Math.max(this.#second + 1, second - PERIOD_S + 1); passed <= second; passed += 1) {
      const from = (passed % PERIOD_S) * CLASSES;
      this.#counts.fill(0, from, from + CLASSES);
    }
    this.#second = second;
  }
}

function quantile(totals: readonly number[], all: number, part: number): number | null {
  if (all === 0) return null;
  let counted = 0;
  const at = totals.findIndex((count) => {
    counted += count;
    return counted >= all * part;
  });
  return Number((SMALLEST_MS * FACTOR ** at).toPrecision(3));
}
