import type { QueueEntry } from "../types/queues.ts";
import type { Json } from "../types/transaction.ts";

/**
 * Handles one entry. What it returns replaces the entry's document; if it returns nothing, the entry gets the first value
 * of each terminal field. If it throws, the entry is tried again as the queue's `retry` policy says. The signal is
 * aborted when the shard is lost or the director stops; then nothing is written (docs/queues.md#directors).
 */
export type EntryHandler<T = Json> = (
  entry: QueueEntry<T>,
  signal: AbortSignal,
  // oxlint-disable-next-line typescript/no-invalid-void-type -- A handler that returns nothing finishes its entry.
) => Promise<Json | void> | Json | void;

export interface DirectorOptions<T = Json> {
  readonly handle: EntryHandler<T>;
  /**
   * The director's name, for people to read: 1 to 256 bytes. Every director needs another one; by default, it is random.
   */
  readonly as?: string;
  /** The maximum number of entries that are handled at once. Defaults to 8. */
  readonly concurrency?: number;
  /** The maximum number of shards to hold. Defaults to the director's share of the active ones. */
  readonly shards?: number;
  /**
   * The finished part of a shard, from 0 to 1, from which on the director may drain it (docs/queues.md#directors).
   * Defaults to 0.5. If it is false, the director drains no shard.
   */
  readonly drainAt?: number | false;
  /** How long {@link Director.stop} waits for handlers before it aborts their signals (ms). Defaults to 10,000. */
  readonly stopMs?: number;
  /** Called with the errors that handlers throw, those that the director survives, and the one that ends it. */
  readonly onError?: (error: Error, entry?: QueueEntry<T>) => void;
}

const MAX_NAME_BYTES = 256;

const isFunction = (value: unknown): boolean => typeof value === "function";
const isCount = (value: unknown): boolean => Number.isSafeInteger(value) && Number(value) >= 1;
const isName = (value: unknown): boolean =>
  typeof value === "string" && value !== "" && new TextEncoder().encode(value).length <= MAX_NAME_BYTES;
const isPart = (value: unknown): boolean =>
  value === false || (typeof value === "number" && value >= 0 && value <= 1);
const isDuration = (value: unknown): boolean => typeof value === "number" && value >= 0;

const CHECKS: Readonly<
  Record<keyof DirectorOptions, readonly [check: (value: unknown) => boolean, must: string]>
> = {
  handle: [isFunction, "a function"],
  as: [isName, "a text of 1 to 256 bytes"],
  concurrency: [isCount, "a whole number from 1 on"],
  shards: [isCount, "a whole number from 1 on"],
  drainAt: [isPart, "false, or a number from 0 to 1"],
  stopMs: [isDuration, "a number of milliseconds"],
  onError: [isFunction, "a function"],
};

/**
 * Throws a `TypeError` if a director cannot work with these options. Programs without types read them from environments,
 * where what is missing becomes NaN, and a director with a concurrency of NaN would hold its shards and do nothing.
 */
export function checkDirectorOptions(options: unknown): void {
  if (typeof options !== "object" || options === null || !("handle" in options))
    throw new TypeError("A director needs a handler: direct(queue, { handle: async (entry, signal) => … }).");
  for (const [name, value] of Object.entries(options)) {
    if (!Object.hasOwn(CHECKS, name)) {
      const known = Object.keys(CHECKS).join(", ");
      throw new TypeError(`A director has no option "${name}". Known are ${known}.`);
    }
    const [check, must] = CHECKS[name as keyof DirectorOptions];
    const isOmitted = value === undefined && name !== "handle";
    if (!isOmitted && !check(value))
      throw new TypeError(`The option "${name}" of a director must be ${must}, not ${String(value)}.`);
  }
}
