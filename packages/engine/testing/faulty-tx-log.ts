import { setTimeout as delay } from "node:timers/promises";
import { CairnError } from "@cairn/kv";
import type {
  Appended,
  AppendOptions,
  LogBounds,
  LogMessage,
  LogReadOptions,
  TxLog,
} from "../src/log/tx-log.ts";

/** The interval at which a stalled reading checks whether it may continue. */
const LOOK_MS = 5;

/** The faults of a {@link FaultyTxLog}. All of them may be changed during use. */
export interface TxLogFaults {
  /** Whether every call rejects with `LOG_UNREACHABLE`, and every reading ends. */
  unreachable: boolean;
  /** The number of arrays after which a reading ends. */
  arraysPerReading: number;
  /** Whether readings wait without yielding anything, until they are aborted or the fault is switched off. */
  stalled: boolean;
  /** Replaces messages that are read or fetched. If it returns undefined, the message is missing. */
  replace: (message: LogMessage) => LogMessage | undefined;
  /** Whether a reading leaves out the message at this position, which the log has. */
  leavesOut: (position: number) => boolean;
  /** If defined, replaces the result of `bounds`. */
  bounds: LogBounds | undefined;
}

/** A log that forwards calls to another log until a fault is switched on, and counts its readings. */
export class FaultyTxLog implements TxLog {
  readonly faults: TxLogFaults = {
    unreachable: false,
    arraysPerReading: Number.POSITIVE_INFINITY,
    stalled: false,
    replace: (message) => message,
    leavesOut: () => false,
    bounds: undefined,
  };
  readings = 0;
  readonly #log: TxLog;
  readonly #listeners = new Set<() => void>();

  constructor(log: TxLog) {
    this.#log = log;
  }

  get name(): string {
    return this.#log.name;
  }

  get location(): string {
    return this.#log.location ?? "nowhere";
  }

  get maxPayload(): number {
    return this.#log.maxPayload;
  }

  async id(): Promise<string | undefined> {
    this.#check();
    return this.#log.id();
  }

  async create(birthRecord: (logId: string) => Uint8Array): Promise<void> {
    this.#check();
    await this.#log.create(birthRecord);
  }

  async exists(): Promise<boolean> {
    this.#check();
    return this.#log.exists();
  }

  async append(payload: Uint8Array, options?: AppendOptions): Promise<Appended> {
    this.#check();
    return this.#log.append(payload, options);
  }

  async bounds(): Promise<LogBounds> {
    this.#check();
    return this.faults.bounds ?? this.#log.bounds();
  }

  async fetch(position: number): Promise<LogMessage | undefined> {
    this.#check();
    const message = await this.#log.fetch(position);
    return message === undefined ? undefined : this.faults.replace(message);
  }

  async *read(from: number, options: LogReadOptions): AsyncGenerator<readonly LogMessage[], void, void> {
    this.#check();
    this.readings += 1;
    let left = this.faults.arraysPerReading;
    for await (const messages of this.#log.read(from, options)) {
      while (this.faults.stalled && !options.signal.aborted) await delay(LOOK_MS);
      if (this.faults.unreachable) return;
      const kept = messages
        .filter(({ position }) => !this.faults.leavesOut(position))
        .map((message) => this.faults.replace(message))
        .filter((message) => message !== undefined);
      if (kept.length > 0) yield kept;
      left -= 1;
      if (left <= 0) return;
    }
  }

  onRestored(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Makes the log reachable again, as a restored connection does. */
  restore(): void {
    this.faults.unreachable = false;
    for (const listener of this.#listeners) listener();
  }

  async close(): Promise<void> {
    await this.#log.close();
  }

  #check(): void {
    if (this.faults.unreachable)
      throw new CairnError("LOG_UNREACHABLE", "A fault makes the log unreachable.");
  }
}
