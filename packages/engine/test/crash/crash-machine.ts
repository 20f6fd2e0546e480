import { cpSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import path from "node:path";
import { setImmediate } from "node:timers/promises";
import { ClassicLevel } from "classic-level";
import { STATE_ROW_KEY } from "../../src/index/rows/row-keys.ts";
import type { Chance } from "../faults/odd-values.ts";

/**
 * The part of the data that was written but not flushed which survives: all of it, as it does after a process ends; none
 * of it; the first bytes; or some of its pages.
 */
export type Survival = "all" | "none" | "beginning" | "pages";

/** The loss of a power failure, by database. */
export interface PowerLoss {
  readonly log: Survival;
  readonly index: Survival;
  /** Whether the device also loses writes of the log that it reported as flushed. */
  readonly breaksPromises: boolean;
}

/** The end of the process rather than of the machine. */
export const NO_LOSS: PowerLoss = { log: "all", index: "all", breaksPromises: false };

const PAGE = 4_096;
/** The number of turns of the event loop for which a step waits at most, so that other work overtakes it. */
const MAX_TURNS = 500;
/** The name of the folder of the log; every other database belongs to the index. */
export const LOG_FOLDER = "log";

type Level = ClassicLevel<Uint8Array, Uint8Array>;
type Write = (options: object) => Promise<void>;

/** The machines that are running. Each has a folder of its own. */
const machines = new Set<CrashMachine>();

/**
 * A machine whose power fails. It sees every batch that LevelDB databases below its folder write, and divides each into
 * steps: before it is written, when it is written but not flushed, and (with `sync`) when it is flushed but its writer
 * does not know that yet. At the step `stopAt`, it leaves the surviving files in another folder. The program goes on
 * without noticing, but nothing that it does afterwards counts.
 */
export class CrashMachine {
  readonly folder: string;
  steps = 0;
  hasFailed = false;
  /** The last transaction that clients could read when the power failed. */
  readable = 0;
  /** Whether the index may lack writes before others that survived. */
  mayHaveDamaged = false;
  /** What the writer was doing when the power failed, for investigating a failed seed. */
  failedAt = "idle";
  readonly #stopAt: number;
  readonly #survivors: string;
  readonly #loss: PowerLoss;
  readonly #chance: Chance;
  #index: Level | undefined;
  /** The flushed bytes of each write-ahead log. */
  readonly #flushed = new Map<string, number>();
  /** The sizes of the log's newest write-ahead log after each batch. */
  readonly #ends: { readonly wal: string; readonly bytes: number }[] = [];

  constructor(
    folder: string,
    survivors: string,
    { stopAt, loss, chance }: { readonly stopAt: number; readonly loss: PowerLoss; readonly chance: Chance },
  ) {
    this.folder = folder;
    this.#survivors = survivors;
    this.#stopAt = stopAt;
    this.#loss = loss;
    this.#chance = chance;
  }

  /** Begins to observe the batches of databases in the folder. */
  observe(): void {
    machines.add(this);
  }

  /** Stops observing them. */
  forget(): void {
    machines.delete(this);
  }

  holds(folder: string): boolean {
    return folder.startsWith(`${this.folder}${path.sep}`);
  }

  /** Writes a batch of a database. */
  async write(level: Level, write: Write, { sync = false, ...options }: { sync?: boolean }): Promise<void> {
    const folder = level.location;
    if (path.basename(folder) === "live") this.#index = level;
    const name = path.relative(this.folder, folder);
    await this.#step(`before a batch of ${name}`);
    // A flush is only recorded. As long as the process lives, no file shows whether it took place.
    await write(options);
    const wal = newestWal(folder);
    if (wal !== undefined && !this.hasFailed) {
      if (!this.#flushed.has(wal)) this.#flushed.set(wal, 0);
      if (name === LOG_FOLDER) this.#ends.push({ wal, bytes: statSync(wal).size });
    }
    await this.#step(`a batch of ${name} was written`);
    if (!sync) return;
    if (wal !== undefined && !this.hasFailed) this.#flushed.set(wal, statSync(wal).size);
    await this.#step(`a batch of ${name} was flushed`);
  }

  /** Fails now. Leaves the files that survive. */
  fail(): void {
    if (this.hasFailed) return;
    this.hasFailed = true;
    this.readable = lastReadable(this.#index);
    copyWhole(this.folder, this.#survivors);
    const logBytes = this.#loss.breaksPromises ? this.#chance.pick([undefined, ...this.#ends]) : undefined;
    for (const [wal, flushed] of this.#flushed) {
      const isLog = isLogs(wal);
      const survivor = path.join(this.#survivors, path.relative(this.folder, wal));
      const content = contentOf(survivor);
      if (content === undefined) continue;
      if (isLog && logBytes?.wal === wal) writeFileSync(survivor, content.subarray(0, logBytes.bytes));
      else
        writeFileSync(survivor, this.#surviving(content, flushed, isLog ? this.#loss.log : this.#loss.index));
    }
    const indexLogs = [...this.#flushed.keys()].filter((wal) => !isLogs(wal));
    const { index } = this.#loss;
    this.mayHaveDamaged = index === "pages" || (index !== "all" && indexLogs.length > 1);
  }

  async #step(what: string): Promise<void> {
    if (this.hasFailed) return;
    this.steps += 1;
    if (this.steps === this.#stopAt) {
      this.failedAt = what;
      this.fail();
      return;
    }
    const kind = this.#chance.next();
    const until = this.steps + 1 + this.#chance.below(4);
    const turns = kind < 0.5 ? 0 : kind < 0.8 ? 1 + this.#chance.below(5) : MAX_TURNS;
    for (let turn = 0; turn < turns && this.steps < until && !this.hasFailed; turn += 1) await setImmediate();
  }

  #surviving(content: Buffer, flushed: number, survival: Survival): Buffer {
    if (survival === "all" || content.length <= flushed) return content;
    if (survival === "none") return content.subarray(0, flushed);
    if (survival === "beginning") {
      return content.subarray(0, flushed + this.#chance.below(content.length - flushed + 1));
    }
    const left = Buffer.from(content);
    for (let from = flushed; from < left.length; from += PAGE - (from % PAGE)) {
      if (this.#chance.next() < 0.5) left.fill(0, from, Math.min(left.length, from - (from % PAGE) + PAGE));
    }
    return left;
  }
}

/** Lets machines see the batches of all LevelDB databases of this process. Returns a function that ends this. */
export function observeBatches(): () => void {
  const prototype = ClassicLevel.prototype as unknown as {
    batch: (this: Level, ...args: unknown[]) => unknown;
  };
  const original = prototype.batch;
  prototype.batch = function batch(...args) {
    const made = original.apply(this, args);
    const machine = [...machines].find((one) => one.holds(this.location));
    if (args.length > 0 || machine === undefined) return made;
    const chained = made as { write: Write };
    const write = chained.write.bind(chained);
    chained.write = (options = {}) => machine.write(this, write, options);
    return chained;
  };
  return () => {
    prototype.batch = original;
  };
}

/** Copies a folder. Repeats this if one of LevelDB's threads changed files meanwhile. */
function copyWhole(from: string, to: string): void {
  for (let tries = 0; tries < 100; tries += 1) {
    const before = listing(from);
    try {
      cpSync(from, to, { recursive: true });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
      continue;
    }
    if (listing(from) === before) return;
  }
  throw new Error(`${from} does not stop changing`);
}

/** Returns the names of a folder's files, and the sizes of those that only LevelDB's threads change. */
function listing(folder: string): string {
  const names = readdirSync(folder, { recursive: true, encoding: "utf8" }).toSorted();
  return names
    .map((name) =>
      path.basename(name).startsWith("MANIFEST") ? `${name} ${sizeOf(path.join(folder, name))}` : name,
    )
    .join("\n");
}

function sizeOf(file: string): number {
  return statSync(file, { throwIfNoEntry: false })?.size ?? 0;
}

function contentOf(file: string): Buffer | undefined {
  return statSync(file, { throwIfNoEntry: false }) === undefined ? undefined : readFileSync(file);
}

function newestWal(folder: string): string | undefined {
  const name = readdirSync(folder)
    .filter((one) => /^\d+\.log$/.test(one))
    .toSorted()
    .at(-1);
  return name === undefined ? undefined : path.join(folder, name);
}

function isLogs(wal: string): boolean {
  return path.basename(path.dirname(wal)) === LOG_FOLDER;
}

function lastReadable(index: Level | undefined): number {
  const state = index?.status === "open" ? index.getSync(STATE_ROW_KEY) : undefined;
  return state === undefined ? 0 : (JSON.parse(Buffer.from(state).toString()) as { txId: number }).txId;
}
