import type { CairnError } from "../errors/errors.ts";

/** A row: a key and a value, both as bytes. Keys are ordered by their unsigned bytes. */
export type KvRow = readonly [key: Uint8Array, value: Uint8Array];

/** One change in a batch. Within a batch, the order matters: the last change to a key wins. */
export type KvOperation =
  | { readonly type: "put"; readonly key: Uint8Array; readonly value: Uint8Array }
  | { readonly type: "del"; readonly key: Uint8Array };

/**
 * The rows to read, in key order or, with `reverse`, in the opposite order. There is at most one lower and one upper
 * bound.
 */
export interface KvRange {
  /** The lower bound, inclusive (`gte`) or exclusive (`gt`). Defaults to the first row. */
  readonly gte?: Uint8Array;
  readonly gt?: Uint8Array;
  /** The upper bound, exclusive (`lt`) or inclusive (`lte`). Defaults to the last row. */
  readonly lt?: Uint8Array;
  readonly lte?: Uint8Array;
  readonly reverse?: boolean;
  readonly limit?: number;
}

/**
 * A value, undefined if there is none, or a promise of either. Await it, or distinguish the cases with
 * `instanceof Promise`.
 */
export type KvValue = Uint8Array | undefined | Promise<Uint8Array | undefined>;

export type KvText = string | undefined | Promise<string | undefined>;

/** Reads the current state of a store, or a {@link KvSnapshot}. */
export interface KvReader {
  /**
   * Returns the value of `key`. Errors reject a promise, and are never thrown synchronously. An implementation that
   * returns values synchronously must return a promise from time to time, so that callers that read many values yield
   * to the event loop.
   */
  get(key: Uint8Array): KvValue;
  /**
   * Like `get`, with the value decoded as UTF-8 (invalid bytes become U+FFFD). Only stores that decode faster
   * than their callers implement it.
   */
  getText?(key: Uint8Array): KvText;
  /**
   * Returns the values of `keys` in the same order, all from one state of the store; undefined for keys that do not
   * exist.
   */
  getMany(keys: readonly Uint8Array[]): Promise<(Uint8Array | undefined)[]>;
  /**
   * Yields the rows of `range` in order, in non-empty arrays of bounded size, all from the state at the time of the
   * call. If the loop ends early, the iterator is released. If the range is never iterated, the iterator is held
   * until the snapshot or, for a range of the store itself, the store is closed.
   */
  range(range: KvRange): AsyncIterable<readonly KvRow[]>;
}

/**
 * An immutable state of a store. It holds resources until it is closed, which may be done repeatedly, and which also
 * releases its ranges, whether or not they were iterated to the end. Afterwards, reads throw `NOT_READY`.
 */
export interface KvSnapshot extends KvReader {
  close(): Promise<void>;
}

export interface KvCapture {
  /** `linked` tables are shared by hard links, `copied` ones were copied because links were not possible. */
  readonly linked: number;
  readonly copied: number;
  /** The size of all files in the captured directory. */
  readonly bytes: number;
}

export interface KvStats {
  /** The size of the store's files on disk, in bytes (0 for a store in memory). */
  readonly bytes: number;
  readonly files: number;
  /**
   * Present if the files or the folder of the open store were removed. The error is `INDEX_CORRUPT`, with a hint. Until
   * the store is closed, reads are served from files that are still open.
   */
  readonly missing?: CairnError;
}

/**
 * An ordered key-value store.
 *
 * - `batch` is atomic: after a crash of the process, either all or none of it exists. Batches survive in order: if one
 *   exists, all earlier ones also exist. The call resolves once readers of this process see the batch or, with `sync:
 *   true`, once it would also survive a power loss.
 * - If a batch fails because of the disk (`DISK_FULL`, `SYSTEM_REFUSED`, `INDEX_CORRUPT`), it is the last one: whether
 *   it exists is known only once the store has been opened again, and until then, every later batch throws the same
 *   error.
 * - Readers never see a part of a batch, and never wait for writers.
 * - Damaged data is never returned: reads and captures throw `INDEX_CORRUPT`, and the node rebuilds its index.
 * - `capture` writes a copy of the store's files to `dir`, which must be empty or not exist. The copy contains *some*
 *   prefix of the batch history that is not older than the call. Writers do not wait. The provider's `open` can open
 *   the copy. A failed capture removes its files. If the copy is damaged, the capture throws `INDEX_CORRUPT`. With
 *   `unchecked`, damage may go unnoticed: the caller must compare LevelDB's tables with their checksums (`checkTable`
 *   of `@cairn/kv/tables`), because it reads all of them anyway.
 * - `close` waits for running operations, including captures. Afterwards, every method throws `NOT_READY`. It may be
 *   called repeatedly.
 */
export interface KvStore extends KvReader {
  /** Copies keys and values before it returns, so that the caller may reuse their memory. `sync` defaults to false. */
  batch(operations: readonly KvOperation[], options?: { sync?: boolean }): Promise<void>;
  snapshot(): KvSnapshot;
  /** Captures the store into `dir`. `unchecked` defaults to false. */
  capture(dir: string, options?: { unchecked?: boolean }): Promise<KvCapture>;
  /** Rewrites all files, without dead rows. The live rows do not change. */
  compact(): Promise<void>;
  /**
   * Prepares to overwrite the data of rows in `ranges` that were removed or replaced before this call but are still in
   * the store's files. Live rows do not change. Only stores that can determine when that data is gone implement it.
   */
  purge?(ranges: readonly KvPurgeRange[]): KvPurge;
  stats(): Promise<KvStats>;
  /**
   * Resolves when everything that {@link KvOpening.check} requested has been compared, and immediately if nothing was
   * requested. Throws `INDEX_CORRUPT` if something is damaged, and `SYSTEM_REFUSED` or a similar error if it could not
   * be read. Calls `onProgress` with the number of bytes compared and the total. Only stores on a disk implement it.
   */
  checked?(onProgress?: (done: number, total: number) => void): Promise<void>;
  /**
   * Compares everything on the disk with its checksums, and returns the number of bytes compared. Awaits `pause` after
   * each small piece, with the number of bytes compared and the total, so that the caller can spread the work. Throws
   * `INDEX_CORRUPT`, which readers also receive from then on. Throws `SYSTEM_REFUSED` or a similar error if something
   * could not be read, which has no further consequences. Throws the reason of `signal` once it is aborted. Only for
   * stores on a disk.
   */
  scrub?(options: KvScrub): Promise<number>;
  close(): Promise<void>;
}

/** A range from `gte` up to but not including `lt`, whose removed rows must be purged from the files. */
export interface KvPurgeRange {
  readonly gte: Uint8Array;
  readonly lt: Uint8Array;
  /** Returns whether a removed key must be purged in addition to its value. By default, no keys are purged. */
  readonly keys?: (key: Uint8Array) => boolean;
}

/**
 * The state of a purge. `gone` means that no file of the store contains the removed data; `unfinished` that the time
 * ran out; `read` that an open snapshot or range still needs the data; and `named` that only a removed key remains, in
 * a file that is replaced when the store is opened again.
 */
export type KvPurged = "gone" | "unfinished" | "read" | "named";

/** Purges removed rows from a store's files, in pieces that take seconds at most. */
export interface KvPurge {
  /**
   * Continues where the last run ended. Only one may run at a time. Does not block readers and writers. Throws
   * `INDEX_CORRUPT`, errors of a batch, and the reason of `signal`. After an error, the purge can be run again.
   */
  run(options: KvPurging): Promise<KvPurged>;
}

export interface KvPurging {
  /** The time after which no more pieces are started (ms). */
  readonly withinMs: number;
  /** Runs `work`, a read and a batch, while nothing else writes to the store. */
  readonly alone: (work: () => Promise<void>) => Promise<void>;
  readonly signal?: AbortSignal;
}

export interface KvScrub {
  /** Pauses the scrub. Must end soon after `signal` is aborted, which also happens when the store is closed. */
  readonly pause: (done: number, total: number, signal: AbortSignal) => Promise<void>;
  readonly signal: AbortSignal;
}

export interface KvOpening {
  /**
   * Whether everything that earlier processes wrote is compared with its checksums before `open` returns or, for large
   * amounts, as soon as possible afterwards; {@link KvStore.checked} waits for that. Defaults to false: it is compared
   * in the background.
   */
  readonly check?: boolean;
}

/** Opens stores of one kind. A kv-store module creates such a provider. */
export interface KvProvider {
  /** Such as `leveldb/1`. Checkpoints record it, and only checkpoints in the same format are restored. */
  readonly format: string;
  /** Whether rows survive closing and opening the same directory. If not, a restored one is removed once it is open. */
  readonly persistent: boolean;
  /**
   * Opens the store in `dir`, which may be a live, captured or restored directory. A missing or empty directory becomes
   * a new, empty store. After a captured directory has been opened and closed, it must still contain only regular
   * files, with names of at most 100 bytes, because a checkpoint consists of such files. Throws `INDEX_LOCKED` (this or
   * another process has it open), `INDEX_CORRUPT` (it cannot be read, has a gap, or contains other files but no
   * database), `DISK_FULL`, and `CONFIG_INVALID` (this user may not write there).
   */
  open(dir: string, options?: KvOpening): Promise<KvStore>;
}
