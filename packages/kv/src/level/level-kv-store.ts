import { dirname, resolve } from "node:path";
import { ClassicLevel } from "classic-level";
import { captureLevelDb } from "../capture/live-capture.ts";
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
  KvTextRow,
  KvValue,
} from "../store/kv-store.ts";
import { checkLogsOnOpening, openKeepingLogs } from "./kept-logs.ts";
import { closed, explainOpening, explainOperation, filesGone } from "./level-errors.ts";
import { claimDirectory, type ClaimedDirectory } from "./directory-claim.ts";
import {
  AS_BYTES,
  AS_TEXT,
  LEVEL_DEFAULTS,
  type LevelOptions,
  RANGE_AS_TEXT,
  SingleReads,
} from "./level-options.ts";
import { LevelPurge } from "./level-purge.ts";
import { LevelReader, LevelSnapshotReader } from "./level-reader.ts";
import { OpenReaders } from "./open-readers.ts";
import { PointReads } from "./point-reads.ts";
import { writeRows } from "./write-rows.ts";
import { checkBeforeOpening, TableChecks, type UncheckedTables } from "./checks-on-opening.ts";

/** The format of captured files. A store in memory captures into the same format. */
export const LEVEL_FORMAT = "leveldb/1";

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
        const end = exists ? await checkLogsOnOpening(dir) : undefined;
        const unchecked = exists && check ? await checkBeforeOpening(dir) : undefined;
        const make = (): ClassicLevel<Uint8Array, Uint8Array> =>
          new ClassicLevel<Uint8Array, Uint8Array>(dir, {
            ...LEVEL_DEFAULTS,
            ...options,
            // LevelDB treats a CURRENT that it cannot examine (EIO, EACCES) as missing, and would create a new database
            // over the files.
            createIfMissing: !exists,
            keyEncoding: "view",
            valueEncoding: "view",
          });
        const level = await openKeepingLogs(make, dir, { exists, end });
        try {
          // After a power loss, the log with synced batches must still have its name.
          if (!exists) await syncFolder(dir);
          if (made !== undefined) await syncFolder(dirname(dir));
          await claim.opened();
        } catch (error) {
          await level.close();
          throw error;
        }
        const store = new LevelKvStore(level, dir, claim);
        store.compare(exists && !check, unchecked);
        return store;
      } catch (error) {
        claim.release();
        throw explainOpening(error, dir);
      }
    },
  };
}

class LevelKvStore extends LevelReader implements KvStore {
  readonly #level: ClassicLevel<Uint8Array, Uint8Array>;
  readonly #dir: string;
  readonly #claim: ClaimedDirectory;
  readonly #asBytes = new SingleReads(AS_BYTES);
  readonly #asText = new SingleReads(AS_TEXT);
  readonly #reads = new PointReads<Uint8Array>({
    now: (key) => this.#now(() => this.#level.getSync(key, this.#asBytes.next())),
    many: (keys) => this.getMany(keys),
  });
  readonly #texts = new PointReads<string>({
    now: (key) => this.#now(() => this.#level.getSync<Uint8Array, string>(key, this.#asText.next())),
    many: (keys) => this.#later(() => this.#level.getMany<Uint8Array, string>(keys, AS_TEXT)),
  });
  /** Captures, compactions and purges, for which closing waits. */
  readonly #running = new Set<Promise<unknown>>();
  readonly #checks: TableChecks;
  readonly #readers: OpenReaders;
  /** The error of a failed batch. It is unknown whether the batch is on disk, so no other batch may follow it. */
  #failure: unknown;
  #closing: Promise<void> | undefined;

  constructor(level: ClassicLevel<Uint8Array, Uint8Array>, dir: string, claim: ClaimedDirectory) {
    const readers = new OpenReaders();
    super(level, dir, undefined, readers);
    this.#readers = readers;
    this.#level = level;
    this.#dir = dir;
    this.#claim = claim;
    this.#checks = new TableChecks(dir, claim);
  }

  /** Compares tables of earlier processes: all in the background, or those in `unchecked` at full speed. */
  compare(isOld: boolean, unchecked: UncheckedTables | undefined): void {
    if (isOld) this.#checks.begin();
    if (unchecked !== undefined) this.#checks.beginUrgent(unchecked);
  }

  async checked(onProgress?: (done: number, total: number) => void): Promise<void> {
    await this.#checks.checked(onProgress);
  }

  async scrub(options: KvScrub): Promise<number> {
    this.#assertOpen();
    return await this.#checks.scrub(options);
  }

  get #damage(): CairnError | undefined {
    return this.#checks.damage;
  }

  override get(key: Uint8Array): KvValue {
    return this.#closing === undefined ? this.#reads.get(key) : Promise.reject(closed(this.#dir));
  }

  getText(key: Uint8Array): KvText {
    return this.#closing === undefined ? this.#texts.get(key) : Promise.reject(closed(this.#dir));
  }

  #now<Value>(read: () => Value): Value {
    if (this.#damage !== undefined) throw this.#damage;
    try {
      return read();
    } catch (error) {
      throw explainOperation(error, this.#dir);
    }
  }

  async #later<Value>(read: () => Promise<Value>): Promise<Value> {
    if (this.#damage !== undefined) throw this.#damage;
    const end = this.#readers.open();
    try {
      return await read();
    } catch (error) {
      throw explainOperation(error, this.#dir);
    } finally {
      end();
    }
  }

  override getMany(keys: readonly Uint8Array[]): Promise<(Uint8Array | undefined)[]> {
    return this.#later(() => this.#level.getMany(keys as Uint8Array[]));
  }

  override range(range: KvRange): AsyncIterable<readonly KvRow[]> {
    return this.#damage === undefined ? super.range(range) : this.#refuse(this.#damage);
  }

  rangeText(range: KvRange): AsyncIterable<readonly KvTextRow[]> {
    return this.#damage === undefined ? this.pages<string>(range, RANGE_AS_TEXT) : this.#refuse(this.#damage);
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
    const broken = this.#failure ?? this.#damage;
    if (broken !== undefined) throw broken;
  }

  snapshot(): KvSnapshot {
    this.#assertOpen();
    if (this.#damage !== undefined) throw this.#damage;
    return new LevelSnapshotReader(this.#level, this.#dir, this.#level.snapshot(), this.#readers);
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
    await Promise.allSettled(this.#running);
    await Promise.all([this.#reads.idle(), this.#texts.idle()]);
    await this.#level.close();
    // The claim is released last. Until LevelDB has closed the database, another attempt to open it in this process
    // would make LevelDB lose its lock.
    this.#claim.release();
  }

  async #track<T>(work: Promise<T>): Promise<T> {
    this.#running.add(work);
    try {
      return await work;
    } catch (error) {
      throw explainOperation(error, this.#dir);
    } finally {
      this.#running.delete(work);
    }
  }

  #refuse(damage: CairnError): never {
    throw damage;
  }

  #assertOpen(): void {
    if (this.#closing !== undefined) throw closed(this.#dir);
  }

  #assertUsable(): void {
    this.#assertOpen();
    const broken = this.#failure ?? this.#damage;
    if (broken !== undefined) throw broken;
  }
}
