import type { Readable } from "node:stream";
import type { StoreEncryption } from "../encryption/key-file.ts";

export interface StoredFile {
  /** The name within the store, without a leading slash. Folders are separated by `/` on every system. */
  readonly name: string;
  readonly bytes: number;
  /** The time of the last write, by the store's clock (milliseconds since 1970). */
  readonly modifiedAt: number;
}

/** The content of a small file, with the tag that {@link CheckpointStore.replace} compares. */
export interface TaggedText {
  readonly text: string;
  /** An opaque value. Different content has a different tag. */
  readonly tag: string;
}

/** Content that worker threads can write to a file. */
export interface DirectContent {
  /**
   * Writes all content to the descriptor `file`, and returns the number of bytes. Throws what `explain` returns for a
   * failure. After the promise settles, only a call that hung when the signal was aborted may still write.
   */
  writeTo(
    file: number,
    options: { readonly explain: (error: unknown) => unknown; readonly signal?: AbortSignal | undefined },
  ): Promise<number>;
}

/** The content of a stored file. Destroying it releases the file. */
export type StoredContent = Readable & {
  /** Present when the content is a local file: its descriptor, so that callers can read from the file directly. */
  readonly file?: number;
  /** Converts an error of reading from {@link file} to the store's, as the stream does. By default, it is unchanged. */
  readonly explain?: (error: unknown) => unknown;
};

export interface UploadOptions {
  readonly signal?: AbortSignal | undefined;
  /** The same content, for stores that write it to a file. They may use it instead of the stream. */
  readonly direct?: DirectContent | undefined;
  /** The approximate size (bytes), rarely exceeded, from which a store chooses the size of parts. */
  readonly expectedBytes?: number | undefined;
  /** Whether nodes use the file without a manifest: once complete, it stays even after a failure, as one may use it. */
  readonly isUsedAtOnce?: boolean;
  /** Called when the store passes on content that it has read before: an upload of which nothing is passed on stalls. */
  readonly onSent?: (() => void) | undefined;
}

export interface OpenOptions {
  readonly signal?: AbortSignal | undefined;
  /** The size (bytes), if it is known: a store then needs one request for content that fits into memory. */
  readonly expectedBytes?: number | undefined;
}

/** A stored file that is read in ranges, all of which are of the same version of the file. */
export interface StoredRanges {
  /**
   * Returns the bytes from `start` up to but not including `end`. Throws `CHECKPOINT_CORRUPT` if the file ends before
   * `end` or was replaced since the first read, `NOT_FOUND` if it was removed, and the reason of `signal`.
   */
  read(start: number, end: number, signal?: AbortSignal): Promise<Buffer>;
  close(): Promise<void>;
}

export interface StoreFindings {
  /** Like {@link CheckpointStore.exclusive}. */
  readonly exclusive: boolean;
  /** Whether files can be removed. If they cannot, this has been reported, and callers do not need to try. */
  readonly canDelete: boolean;
  readonly checksums: string;
}

export interface ChangeOptions {
  /** Whether the change survives a power loss. Defaults to true; false for leases, because flushes delay other data. */
  readonly durable?: boolean;
}

/**
 * A store of checkpoints: a flat set of named files, in a folder or in S3. An implementation only stores files; it does
 * not need to know what their names and contents mean (archives, manifests, leases).
 *
 * - Names also come from manifests and users: methods with a `name` reject invalid names as `requireStoreName` of this
 *   package does.
 * - A file exists completely or not at all: readers never see a part of it, even if its writer dies.
 * - Every method may throw `STORE_UNREACHABLE` (the caller may retry), `STORE_DENIED`, `STORE_FULL`; an unreachable
 *   store never looks empty.
 * - Methods that may take long accept an AbortSignal; an aborted write leaves nothing listed behind.
 */
export interface CheckpointStore {
  /** The location for messages and /status: `file:///…` or `s3://bucket/prefix`. It never contains credentials. */
  readonly location: string;
  /** The identity of the store, if {@link location} does not identify it; {@link isSamePlace} compares it. */
  readonly identity?: string;
  /** Lists the files whose names begin with `prefix`, in name order; none if the store was never written to. */
  list(prefix: string): Promise<StoredFile[]>;
  /**
   * Writes a file of any size, and resolves once it is durable. Throws `CONFLICT` if the file exists, and the stream's
   * own error, even one that comes before the stream is read.
   */
  upload(name: string, content: Readable, options?: UploadOptions): Promise<{ bytes: number }>;
  /** Returns the content as a stream. Throws `NOT_FOUND` if the file does not exist. */
  open(name: string, options?: OpenOptions): Promise<StoredContent>;
  /**
   * Opens a file for reading ranges of it. If it does not exist, this or the first read throws `NOT_FOUND`. Only stores
   * that can read ranges implement it.
   */
  openRanges?(name: string): Promise<StoredRanges>;
  /** Reads a small file (at most 64 MiB, otherwise `CHECKPOINT_CORRUPT`); undefined if it does not exist. */
  read(name: string): Promise<TaggedText | undefined>;
  /** Writes a small file; false if the name exists. If {@link exclusive}, only one concurrent call returns true. */
  create(name: string, text: string, options?: ChangeOptions): Promise<boolean>;
  /** Overwrites a small file if its tag is still `tag`. Returns false if the tag differs or the file is gone. */
  replace(name: string, text: string, tag: string): Promise<{ tag: string } | false>;
  /** Removes a file; does nothing if it does not exist. */
  remove(name: string, options?: ChangeOptions): Promise<void>;
  /** Returns the current time by the store's clock, in milliseconds since 1970. */
  now(): Promise<number>;
  /** Whether only one of several concurrent calls of {@link create} succeeds. */
  readonly exclusive: boolean;
  /**
   * The keys of the store's content; if absent, nothing is encrypted. The callers of the store encrypt and decrypt, so
   * that archives are encrypted on worker threads.
   */
  readonly encryption?: StoreEncryption | undefined;
  /** Whether every node can read what one writes. If unknown, the store's checkpoints do not permit trimming. */
  readonly shared?: boolean;
  /** Whether every write is rejected, for stores that are used only for restoring. Defaults to false. */
  readonly readOnly?: boolean;
  /** Returns the capabilities that the store has detected; undefined before the detection. */
  describe?(): StoreFindings | undefined;
  /**
   * Frees the space of unlisted uploads of dead writers: those for which `isDead` returns true and which began before
   * `before` (by the store's clock), and those in `unfinished`, because some services list uploads only by their exact
   * name. Returns the names. Not needed where such uploads are listed or disappear by themselves.
   */
  tidy?(options: {
    readonly before: number;
    readonly isDead: (name: string) => boolean;
    readonly unfinished?: readonly string[];
  }): Promise<readonly string[]>;
  /** Releases resources, and aborts requests that have no signal of their own. The content is unaffected. */
  close(): Promise<void>;
}

/** Returns whether two stores have the same location, so that facts about a file in one apply to the other. */
export function isSamePlace(a: CheckpointStore, b: CheckpointStore): boolean {
  return a === b || (a.identity ?? a.location) === (b.identity ?? b.location);
}

/** Returns `store` with keys, so that the callers of the store encrypt what they write to it. */
export function encryptedStore(store: CheckpointStore, encryption: StoreEncryption): CheckpointStore {
  return new Proxy(store, {
    get(_, name) {
      const member: unknown = name === "encryption" ? encryption : Reflect.get(store, name);
      // A store has private fields, which a proxy does not.
      return typeof member === "function" ? (member.bind(store) as unknown) : member;
    },
  });
}
