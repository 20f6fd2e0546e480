import type { CairnError } from "../errors/errors.ts";

/** A row: key and value, both bytes. Keys are ordered by their unsigned bytes. */
export type KvRow = readonly [key: Uint8Array, value: Uint8Array];

/** The same as text: what both say in UTF-8. */
export type KvTextRow = readonly [key: string, value: string];

/** One change of a batch. Within a batch the order counts: the last change of a key wins. */
export type KvOperation =
  | { readonly type: "put"; readonly key: Uint8Array; readonly value: Uint8Array }
  | { readonly type: "del"; readonly key: Uint8Array };

/** Which rows, in key order (`reverse`: from the last). At most one lower and one upper bound. */
export interface KvRange {
  /** The lower bound, itself in the range (`gte`) or not (`gt`); without one the range begins at the store's first row. */
  readonly gte?: Uint8Array;
  readonly gt?: Uint8Array;
  /** The upper bound, itself not in the range (`lt`) or in it (`lte`); without one the range ends at the store's last row. */
  readonly lt?: Uint8Array;
  readonly lte?: Uint8Array;
  /** From the last row to the first; false when left out. */
  readonly reverse?: boolean;
  /** At most so many rows; no bound when left out. */
  readonly limit?: number;
}

/** A value, or undefined when there is none: at once where it is at hand, else later. To be awaited, or told apart by `instanceof Promise`. */
export type KvValue = Uint8Array | undefined | Promise<Uint8Array | undefined>;

/** The same of a value as text. */
export type KvText = string | undefined | Promise<string | undefined>;

/** What can be read, from the store as it is now or from a {@link KvSnapshot}. */
export interface KvReader {
  /**
   * The value of `key`. Errors come by a promise that rejects, never at once. Whoever has values at hand answers later now and then, so
   * that the event loop turns also while somebody reads one value after the other.
   */
  get(key: Uint8Array): KvValue;
  /**
   * What `get` answers, as text: a value's bytes as UTF-8 (what is none becomes U+FFFD). Left out by stores that cannot do it faster
   * than their callers could.
   */
  getText?(key: Uint8Array): KvText;
  /** The values of `keys` in the same order, all from one state of the store; undefined where there is none. */
  getMany(keys: readonly Uint8Array[]): Promise<(Uint8Array | undefined)[]>;
  /**
   * The rows of `range` in order, in arrays of bounded size (never empty), all from the state at the call.
   * Leaving the loop early releases the iterator; a range that is never looped over holds it until the store closes.
   */
  range(range: KvRange): AsyncIterable<readonly KvRow[]>;
  /**
   * What `range` gives, as text: keys and values as UTF-8 (what is none becomes U+FFFD, so that a key with one may be another key). For whoever
   * looks at many rows: text costs a third of bytes. Left out by stores that cannot do it faster than their callers could.
   */
  rangeText?(range: KvRange): AsyncIterable<readonly KvTextRow[]>;
}

/** A frozen state. Holds resources until closed; closing twice is fine; reads after it throw `NOT_READY`. */
export interface KvSnapshot extends KvReader {
  close(): Promise<void>;
}

/** What a capture did, for logs and benches. */
export interface KvCapture {
  /** Tables shared by a hard link, and those copied because the target is on another file system. */
  readonly linked: number;
  readonly copied: number;
  /** Bytes of all files in the captured directory. */
  readonly bytes: number;
}

/** Sizes, as the engine knows them; all are estimates but `bytes`. */
export interface KvStats {
  /** Bytes of the store's files on disk (0 for a store that lives in memory). */
  readonly bytes: number;
  readonly files: number;
  /**
   * The files that the store was opened from were removed from its folder, or the folder was: `INDEX_CORRUPT`, with what to do. What is
   * answered comes from files that are still held open, and ends with them. Left out where all is well.
   */
  readonly missing?: CairnError;
}

/**
 * An ordered key-value store.
 *
 * - `batch` is atomic: after a crash of the process all of it is there or nothing; and batches survive in
 *   order: if one is there, so are all before it. It returns when readers of this process see it;
 *   `sync: true` returns when it also survives a power loss.
 * - A batch that failed for the disk's sake (`DISK_FULL`, `SYSTEM_REFUSED`, `INDEX_CORRUPT`) is the last one: whether it is there is known
 *   only after opening the store again, and until then every further batch throws the same error.
 * - Readers never see half a batch, and never wait for writers.
 * - What was damaged where it lies is `INDEX_CORRUPT` for whoever reads or captures it, never an answer: a node leaves such a store
 *   at once and builds its index anew.
 * - `capture` writes a copy of the store's files to `dir` (made by it; must not exist or be empty) at *some* prefix of the
 *   batch history not older than the call, without making writers wait. The copy opens with the provider's `open`.
 *   A failed capture removes what it made. Damage in the copy is `INDEX_CORRUPT`; with `unchecked` only where it was met: then
 *   the caller compares LevelDB's tables itself (`checkTable` of `@cairn/kv/tables`), since it reads all of them anyway.
 * - `close` waits for what runs (captures too); afterwards every method throws `NOT_READY`. Closing twice is fine.
 */
export interface KvStore extends KvReader {
  /** Copies keys and values before it returns its promise: their memory is the caller's again then. `sync` is false when left out. */
  batch(operations: readonly KvOperation[], options?: { sync?: boolean }): Promise<void>;
  snapshot(): KvSnapshot;
  /** `unchecked` is false when left out. */
  capture(dir: string, options?: { unchecked?: boolean }): Promise<KvCapture>;
  /** Rewrites everything without dead rows; rows stay what they are. */
  compact(): Promise<void>;
  /**
   * Begins to overwrite what the store's files still hold of rows of `ranges` that were removed or replaced before this call. Rows stay
   * what they are. Left out by stores that cannot tell when it is gone.
   */
  purge?(ranges: readonly KvPurgeRange[]): KvPurge;
  stats(): Promise<KvStats>;
  /**
   * Resolves once all that {@link KvOpening.check} asked for was compared; at once where nothing was asked. `INDEX_CORRUPT` where
   * something was damaged, `SYSTEM_REFUSED` and the like where it could not be read. `onProgress` is told how many bytes of how many
   * are done. Left out by stores that keep nothing on a disk.
   */
  checked?(onProgress?: (done: number, total: number) => void): Promise<void>;
  /**
   * Compares everything that lies on the disk, in use or not, with its checksums, and returns how many bytes that were. `pause` is
   * awaited after each small piece, with how many bytes of how many are done: by it the caller spreads the work. Errors: `INDEX_CORRUPT`,
   * of which readers hear from then on as well; `SYSTEM_REFUSED` and the like where something could not be read, which changes nothing;
   * the reason of `signal`. Left out by stores that keep nothing on a disk.
   */
  scrub?(options: KvScrub): Promise<number>;
  close(): Promise<void>;
}

/** Rows of which nothing that was removed shall stay in the files: from `gte` on, up to `lt`, which is not among them. */
export interface KvPurgeRange {
  readonly gte: Uint8Array;
  readonly lt: Uint8Array;
  /** Which removed keys shall be gone too, and not their values alone; none when left out. */
  readonly keys?: (key: Uint8Array) => boolean;
}

/**
 * How far a purge is. `gone`: no file of the store holds what was removed; it stays so. `unfinished`: the time was up. `read`: a snapshot
 * or a range that was open holds it. `named`: only a removed key is left, in a file that the store replaces when it is opened anew.
 */
export type KvPurged = "gone" | "unfinished" | "read" | "named";

/** The removal of what is removed already from a store's files, in pieces that each take seconds at most. */
export interface KvPurge {
  /**
   * Goes on where the last run ended; one runs at a time. Writers and readers go on meanwhile. Errors: `INDEX_CORRUPT`, those of a
   * batch, and the reason of `signal`; a purge that failed can be run again.
   */
  run(options: KvPurging): Promise<KvPurged>;
}

/** How a purge runs. */
export interface KvPurging {
  /** No piece begins after so many milliseconds. */
  readonly withinMs: number;
  /** Does `work`, a read and a batch, while nobody else writes to the store. */
  readonly alone: (work: () => Promise<void>) => Promise<void>;
  readonly signal?: AbortSignal;
}

/** How a store is scrubbed. */
export interface KvScrub {
  /** Must end soon after `signal` is aborted, which happens also when the store is closed. */
  readonly pause: (done: number, total: number, signal: AbortSignal) => Promise<void>;
  readonly signal: AbortSignal;
}

/** How a store is opened. */
export interface KvOpening {
  /**
   * Whether everything that an earlier life left is compared with its checksums, by the time that `open` returns or, where there is much,
   * as soon as can be afterwards: {@link KvStore.checked} says when. False when left out: it is compared without haste.
   */
  readonly check?: boolean;
}

/** How to open stores of one kind: what a kv-store module creates. */
export interface KvProvider {
  /** The format of captured files, e.g. `leveldb/1`; checkpoints say it, and only equal ones are restored. */
  readonly format: string;
  /** Whether rows are still there after close and open of the same directory. */
  readonly persistent: boolean;
  /**
   * Opens the store whose files lie in `dir` (a live directory, a captured or a restored one).
   * Missing or empty directory: a new, empty store. A directory with other files but no database: `INDEX_CORRUPT`.
   * Once a captured directory was opened and closed it still holds plain files only, with names of 100 bytes at most: a checkpoint
   * is made of them.
   * Errors: `INDEX_LOCKED` (this or another process has it open), `INDEX_CORRUPT` (cannot be read, or has a gap),
   * `DISK_FULL`, `CONFIG_INVALID` (this user may not write there).
   */
  open(dir: string, options?: KvOpening): Promise<KvStore>;
}
