import { setTimeout as delay } from "node:timers/promises";
import { recordKey, Records, scattered } from "../data/records.ts";
import type { Figures } from "../harness/figures.ts";
import { percentiles } from "../harness/latencies.ts";

const ROWS_PER_BATCH = 10;
const INTERVAL_MS = 1;
const BEFORE_MS = 3_000;
const DISTURBANCES = 5;
const PAUSE_MS = 300;
const WARM_UP_MS = 1_000;

/** One row that the writer writes. */
export interface WrittenRow {
  readonly key: string;
  readonly value: Buffer;
}

/** A store to write to, and the backups that disturb the writer. */
export interface Disturbed {
  /** The number of records in the store. The writer overwrites them in scattered order. */
  readonly records: number;
  /** Resolves once readers see the rows. */
  readonly write: (rows: readonly WrittenRow[]) => Promise<unknown>;
  /** Creates one backup. */
  readonly disturb: (round: number) => Promise<void>;
  /** Removes a backup. The removal is not measured. */
  readonly tidy: (round: number) => Promise<void>;
}

/**
 * Writes a batch every millisecond, first undisturbed for some seconds and then during a few backups. A latency is
 * measured from the call until the rows can be read; the longest wait is measured from the time at which the batch was
 * due, so that it includes times during which the thread was blocked.
 */
export async function measureSteadyWriter({ records, write, disturb, tidy }: Disturbed): Promise<Figures> {
  const batch = batches(records);
  const stop = new AbortController();
  let latencies: number[] = [];
  let longestWait = 0;
  const writing = (async () => {
    let due = performance.now();
    while (!stop.signal.aborted) {
      const rows = batch();
      const begin = performance.now();
      await write(rows);
      const end = performance.now();
      latencies.push(end - begin);
      // One interval is subtracted, because timers may be late by themselves.
      longestWait = Math.max(longestWait, end - due - INTERVAL_MS);
      due = Math.max(due + INTERVAL_MS, end - INTERVAL_MS);
      await delay(Math.max(0, due - end));
    }
  })();

  await delay(WARM_UP_MS);
  latencies = [];
  longestWait = 0;
  await delay(BEFORE_MS);
  const before = { latencies, longestWait };
  const during = { latencies: [] as number[], longestWait: 0 };
  let backupSeconds = 0;
  for (let round = 0; round < DISTURBANCES; round++) {
    latencies = [];
    longestWait = 0;
    const begin = performance.now();
    await disturb(round);
    backupSeconds += (performance.now() - begin) / 1000;
    during.latencies.push(...latencies);
    during.longestWait = Math.max(during.longestWait, longestWait);
    await tidy(round);
    await delay(PAUSE_MS);
  }
  stop.abort();
  await writing;
  return {
    ...latencyFigures(before.latencies, "before"),
    "longest wait before, µs": before.longestWait * 1000,
    ...latencyFigures(during.latencies, "during"),
    "longest wait during, µs": during.longestWait * 1000,
    "backup s": backupSeconds / DISTURBANCES,
  };
}

function latencyFigures(latencies: readonly number[], when: string): Figures {
  const at = percentiles(latencies);
  return {
    [`p50 ${when}, µs`]: at(0.5) * 1000,
    [`p99 ${when}, µs`]: at(0.99) * 1000,
    [`p99.9 ${when}, µs`]: at(0.999) * 1000,
  };
}

function batches(count: number): () => readonly WrittenRow[] {
  const records = new Records(count);
  let next = 0;
  return () =>
    Array.from({ length: ROWS_PER_BATCH }, () => {
      next += 1;
      const index = scattered(next, count);
      return { key: recordKey(index), value: Buffer.from(records.document(next)) };
    });
}
