import { dirname, resolve } from "node:path";
import { ClassicLevel } from "classic-level";
import { captureLevelDb } from "../capture/live-capture.ts";
import { RunningWork } from "../concurrency/running-work.ts";
import { makeFolder, syncFolder } from "../disk/folders.ts";
import { CairnError } from "../errors/errors.ts";
import { holdsLevelDb, measureFiles } from "../files/level-files.ts";
import type {
  KvCapture,
  KvOperation,
  KvProvider,
  KvPurge,
  KvPurgeRange,
  KvRange,
  KvRow,
  KvScrub,
  KvSnapshot,
  KvStats,
  KvStore,
  KvText,
  KvValue,
} from "../store/kv-store.ts";
import { checkLogsOnOpening, openKeepingLogs } from "./kept-logs.ts";
import { closed, explained, explainOpening, explainOperation, filesGone } from "./level-errors.ts";
import { claimDirectory, type ClaimedDirectory } from "./directory-claim.ts";
import { LevelPurge } from "./level-purge.ts";
import { pagesOf, snapshotReader } from "./level-reader.ts";
import { OpenReaders } from "./open-readers.ts";
import { PointReads } from "./point-reads.ts";
import { writeRows } from "./write-rows.ts";
import { checkBeforeOpening, type TableChecks, tableChecks } from "./checks-on-opening.ts";

/** The format of captured files. A store in memory captures into the same format. */
export const LEVEL_FORMAT = "leveldb/1";

type Database = ClassicLevel<Uint8Array, Uint8Array>;

export function levelProvider(options: LevelOptions = {}): KvProvider {
  return {
    format: LEVEL_FORMAT,
    persistent: true,
    async open(place, { check = false } = {}) {
      const dir = resolve(place);
      const exists = await holdsLevelDb(dir);
      const made = await makeFolder(dir);
      const claim = await claimDirectory(dir);
      try {
        const ends = exists ? await checkLogsOnOpening(dir) : undefined;
        const unchecked = exists && check ? await checkBeforeOpening(dir) : undefined;
        const make = (): Database =>
          new ClassicLevel(dir, {
            ...LEVEL_DEFAULTS,
            ...options,
            // LevelDB treats a CURRENT that it cannot examine (EIO, EACCES) as missing, and would create a new database
            // over the files.
            createIfMissing: !exists,
            keyEncoding: "view",
            valueEncoding: "view",
          });
        const level = await openKeepingLogs(make, dir, { exists, ends });
        try {
          // After a power loss, the log with synced batches must still have its name.
          if (!exists) await syncFolder(dir);
          if (made !== undefined) await syncFolder(dirname(dir));
          await claim.opened();
        } catch (error) {
          await level.close();
          throw error;
        }
        // Tables of earlier processes are compared: all in the background, or some at full speed.
        const checks = tableChecks(dir, claim);
        if (exists && !check) checks.begin();
        if (unchecked !== undefined) checks.beginUrgent(unchecked);
        return new LevelKvStore(level, dir, claim, checks);
      } catch (error) {
        claim.release();
        throw explainOpening(error, dir);
      }
    },
  };
}

class LevelKvStore implements KvStore {
  readonly #level: Database;
  readonly #dir: string;
  readonly #claim: ClaimedDirectory;
  readonly #reads = this.#pointReads<Uint8Array>(AS_BYTES);
  readonly #texts = this.#pointReads<string>(AS_TEXT);
  /** Captures, compactions and purges. */
  readonly #running = new RunningWork();
  readonly #checks: TableChecks;
  readonly #readers = new OpenReaders();
  /** The error of a failed batch. It is unknown whether the batch is on disk, so no other batch may follow it. */
  #failure: unknown;
  #closing: Promise<void> | undefined;

  constructor(level: Database, dir: string, claim: ClaimedDirectory, checks: TableChecks) {
    this.#level = level;
    this.#dir = dir;
    this.#claim = claim;
    this.#checks = checks;
  }

  async checked(onProgress?: (done: number, total: number) => void): Promise<void> {
    await this.#checks.checked(onProgress);
  }

  async scrub(options: KvScrub): Promise<number> {
    this.#assertOpen();
    return await this.#checks.scrub(options);
  }

  get(key: Uint8Array): KvValue {
    return this.#closing === undefined ? this.#reads.get(key) : Promise.reject(closed(this.#dir));
  }

  getText(key: Uint8Array): KvText {
    return this.#closing === undefined ? this.#texts.get(key) : Promise.reject(closed(this.#dir));
  }

  #pointReads<Value>(encodings: typeof AS_BYTES | typeof AS_TEXT): PointReads<Value> {
    const nextOptions = singleReads(encodings);
    return new PointReads<Value>({
      now: (key) => {
        this.#assertIntact();
        try {
          return this.#level.getSync<Uint8Array, Value>(key, nextOptions());
        } catch (error) {
          throw explainOperation(error, this.#dir);
        }
      },
      many: (keys) => this.#many<Value>(keys, encodings),
    });
  }

  async #many<Value>(
    keys: readonly Uint8Array[],
    encodings: typeof AS_BYTES | typeof AS_TEXT,
  ): Promise<(Value | undefined)[]> {
    this.#assertIntact();
    const end = this.#readers.open();
    try {
      return await this.#level.getMany<Uint8Array, Value>(keys as Uint8Array[], encodings);
    } catch (error) {
      throw explainOperation(error, this.#dir);
    } finally {
      end();
    }
  }

  getMany(keys: readonly Uint8Array[]): Promise<(Uint8Array | undefined)[]> {
    return this.#many<Uint8Array>(keys, AS_BYTES);
  }

  range(range: KvRange): AsyncIterable<readonly KvRow[]> {
    this.#assertIntact();
    return pagesOf(this.#level, this.#dir, range, () => this.#readers.open());
  }

  async batch(operations: readonly KvOperation[], options?: { sync?: boolean }): Promise<void> {
    this.#assertUsable();
    try {
      await writeRows(this.#level, operations, options);
    } catch (error) {
      const failure = explainOperation(error, this.#dir);
      // LevelDB would accept the next batch, but recovery would drop it, because it would follow an incomplete record.
      if (failure instanceof CairnError && failure.code !== "NOT_READY") this.#failure ??= failure;
      throw failure;
    }
    // The check is repeated for batches that were already being written when another one failed.
    this.#assertUnbroken();
  }

  snapshot(): KvSnapshot {
    this.#assertOpen();
    this.#assertIntact();
    return snapshotReader(this.#level, this.#dir, this.#readers);
  }

  async capture(dir: string, options: { unchecked?: boolean } = {}): Promise<KvCapture> {
    this.#assertOpen();
    return this.#track(this.#capture(resolve(dir), options));
  }

  /** Refuses if another database has replaced the files: a copy of that one would pass for a copy of this store. */
  async #capture(dir: string, options: { unchecked?: boolean }): Promise<KvCapture> {
    if (!(await this.#claim.isThere())) throw filesGone(this.#dir);
    return await captureLevelDb(this.#dir, dir, options);
  }

  async compact(): Promise<void> {
    this.#assertUsable();
    // LevelDB treats an open end as an empty range. If there are dead rows above this key, later compactions remove
    // them.
    const end = new Uint8Array(256).fill(0xff);
    await this.#track(this.#level.compactRange(new Uint8Array(0), end));
  }

  purge(ranges: readonly KvPurgeRange[]): KvPurge {
    this.#assertUsable();
    const purge = new LevelPurge(ranges, {
      dir: this.#dir,
      readers: this.#readers,
      compact: (begin, end) => this.#level.compactRange(begin, end),
      store: this,
      assertUsable: () => this.#assertUsable(),
    });
    return { run: (options) => this.#track(purge.run(options)) };
  }

  async stats(): Promise<KvStats> {
    this.#assertOpen();
    const measured = await measureFiles(this.#dir);
    return (await this.#claim.isThere()) ? measured : { ...measured, missing: filesGone(this.#dir) };
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await this.#checks.stop();
    await this.#running.idle();
    await Promise.all([this.#reads.idle(), this.#texts.idle()]);
    await this.#level.close();
    // The claim is released last. Until LevelDB has closed the database, another attempt to open it in this process
    // would make LevelDB lose its lock.
    this.#claim.release();
  }

  #track<T>(work: Promise<T>): Promise<T> {
    return this.#running.track(explained(work, this.#dir));
  }

  #assertOpen(): void {
    if (this.#closing !== undefined) throw closed(this.#dir);
  }

  /** Throws if a table is damaged: data that may come from it must not be served. */
  #assertIntact(): void {
    if (this.#checks.damage !== undefined) throw this.#checks.damage;
  }

  #assertUnbroken(): void {
    if (this.#failure !== undefined) throw this.#failure;
    this.#assertIntact();
  }

  #assertUsable(): void {
    this.#assertOpen();
    this.#assertUnbroken();
  }
}

/** Options for LevelDB. Sizes are in bytes. */
export interface LevelOptions {
  /**
   * The size of the rows that are kept in memory, and in the log that recovery reads, before they become a table.
   * Defaults to 24 MiB.
   */
  readonly writeBufferSize?: number;
  /** The size of the cache for table blocks in memory. Defaults to 16 MiB. */
  readonly cacheSize?: number;
  /** Whether tables are compressed with Snappy. Defaults to true. */
  readonly compression?: boolean;
}

/** The defaults that differ from those of LevelDB. */
const LEVEL_DEFAULTS = { writeBufferSize: 24 << 20, cacheSize: 16 << 20, compression: true };

const AS_BYTES = { keyEncoding: "view", valueEncoding: "view" } as const;

/** Options for a read whose value is text. LevelDB's bytes are converted without an intermediate buffer. */
export const AS_TEXT = { keyEncoding: "view", valueEncoding: "utf8" } as const;

/** One single read in this many adds its block to the cache. */
const READS_PER_CACHE_FILL = 8;

/**
 * Returns the options of consecutive single reads. Caching a block costs a fifth as much as reading it, and evicts
 * another one. Although only some reads add their blocks, blocks that are read frequently soon get into the cache and
 * stay there, whereas blocks that are read once rarely do.
 */
export function singleReads<Options extends object>(
  options: Options,
): () => Options & { readonly fillCache: boolean } {
  const filling = { ...options, fillCache: true };
  const bypassing = { ...options, fillCache: false };
  let count = 0;
  return () => {
    count = (count + 1) % READS_PER_CACHE_FILL;
    return count === 0 ? filling : bypassing;
  };
}
