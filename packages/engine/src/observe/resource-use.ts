import type { StatsFs } from "node:fs";
import { statfs } from "node:fs/promises";
import { memoryUsage } from "node:process";
import type { NodeResources, RequestRate } from "@cairn/client";
import { SharedResults, withTimeout } from "@cairn/kv";

/** A request with its response. `route` is the template, not the URL, because the number of keys and buckets is unlimited. */
export interface AnsweredRequest {
  readonly method: string;
  readonly route: string;
  /** Whether it reads or writes documents; undefined if it does neither. */
  readonly kind: "read" | "write" | undefined;
  readonly status: number;
  readonly seconds: number;
}

/** How long to wait for a disk, which may be on a server that does not respond (ms). */
const DISK_MS = 250;

export function resourceUse(dbDir: string) {
  const startedAt = performance.now();
  const rates = { read: new RequestRates(), write: new RequestRates() };
  const asking = new SharedResults<StatsFs>();
  return {
    note: (kind: "read" | "write", { seconds }: Pick<AnsweredRequest, "seconds">): void =>
      rates[kind].note(seconds * 1_000),
    async current(): Promise<NodeResources> {
      // A disk that does not respond occupies one thread, however often the status is requested.
      const asked = asking.get(dbDir, () => statfs(dbDir));
      // The folder may be missing, or the system may not report its file system. The status then lacks it.
      const disk = await withTimeout(asked, DISK_MS, null).catch(() => null);
      const { user, system } = process.cpuUsage();
      return {
        uptimeMs: Math.round(performance.now() - startedAt),
        memoryBytes: memoryUsage.rss(),
        processorMs: Math.round((user + system) / 1_000),
        diskFreeBytes: disk && disk.bavail * disk.bsize,
        diskTotalBytes: disk && disk.blocks * disk.bsize,
        reads: rates.read.current(),
        writes: rates.write.current(),
      };
    },
  };
}

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
