import type { Readable } from "node:stream";

/** A file of a checkpoint store as listed. */
export interface StoredFile {
  /** Relative to the store: no leading slash; `/` between folders on every system. */
  readonly name: string;
  readonly bytes: number;
  /** When the store says that it was last written, by the store's clock (milliseconds since 1970). */
  readonly modifiedAt: number;
}

/** A small file read whole, with the tag that {@link CheckpointStore.replace} compares. */
export interface TaggedText {
  readonly text: string;
  /** Opaque; another content has another tag. */
  readonly tag: string;
}

/** Content that other threads can write to a file while this one goes on. */
export interface DirectContent {
  /**
   * Writes all of it to the descriptor `file` and answers how many bytes that was. What writing throws is given to `explain`, whose
   * answer is thrown; nothing writes to the file any more after the end.
   */
  writeTo(
    file: number,
    options: { readonly explain: (error: unknown) => unknown; readonly signal?: AbortSignal | undefined },
  ): Promise<number>;
}

/** A stored file's content; destroying it lets go of the file. */
export type StoredContent = Readable & {
  /** The descriptor that it reads from the beginning of, where it is a file of this machine: for who would rather read that. */
  readonly file?: number;
};

/** How to upload. */
export interface UploadOptions {
  readonly signal?: AbortSignal;
  /** The same content once more: a store that writes it to a file may use this, and then not read the stream. */
  readonly direct?: DirectContent;
  /** About how many bytes will come, rather too many than too few: a store that sends in parts chooses their size by it. */
  readonly expectedBytes?: number;
}

/** What a store has found out about itself, for /status. */
export interface StoreFindings {
  /** As {@link CheckpointStore.exclusive}. */
  readonly exclusive: boolean;
  /** Whether files can be removed. Where not, that was told, and nobody need try. */
  readonly canDelete: boolean;
  /** Whether a part of a file can be read without the rest. */
  readonly ranges: boolean;
  /** Which checksums go with requests. */
  readonly checksums: string;
}

/**
 * Where checkpoints lie: a flat set of named files, in a folder or in S3. What the names and contents mean
 * (archives, manifests, the lease) is known elsewhere; an implementation only stores.
 *
 * - Names come from manifests and users too: a method that takes one refuses what `requireStoreName` of this package refuses.
 * - A file is there whole or not at all: a reader never sees half of one, whenever the writer dies.
 * - Every method may throw `STORE_UNREACHABLE` (worth trying again), `STORE_DENIED`, `STORE_FULL`;
 *   an unreachable store never looks like an empty one.
 * - All take an AbortSignal where they may last; an aborted write leaves nothing that lists.
 */
export interface CheckpointStore {
  /** For messages and /status: `file:///…` or `s3://bucket/prefix`; never with credentials. */
  readonly location: string;
  /** Tells the place from every other, where {@link location} does not; {@link isSamePlace} compares it. */
  readonly identity?: string;
  /** All files whose name begins with `prefix`, in name order. None: an empty array, also when the store was never written to. */
  list(prefix: string): Promise<StoredFile[]>;
  /** Writes a file of any size from a stream; answers when it would survive a power loss. Never overwrites: `CONFLICT`. */
  upload(name: string, content: Readable, options?: UploadOptions): Promise<{ bytes: number }>;
  /** The content as a stream. `NOT_FOUND` when it is not there. */
  open(name: string, options?: { signal?: AbortSignal }): Promise<StoredContent>;
  /** A small file (at most 64 MiB, else `CHECKPOINT_CORRUPT`) whole, or undefined when it is not there. */
  read(name: string): Promise<TaggedText | undefined>;
  /** Writes a small file if there is none of that name; false when there is. Of many that race one gets true, if {@link exclusive}. */
  create(name: string, text: string): Promise<boolean>;
  /** Overwrites a small file if its tag is still `tag`; false when it is another or the file is gone. */
  replace(name: string, text: string, tag: string): Promise<{ tag: string } | false>;
  /** Removes a file; fine when it is not there. */
  remove(name: string): Promise<void>;
  /** Now, by the store's own clock, in milliseconds since 1970. */
  now(): Promise<number>;
  /** Whether {@link create} lets only one of several racers win. */
  readonly exclusive: boolean;
  /**
   * Whether every node of the cluster reads what one of them writes here. Left out it is not known, and no log is trimmed for the
   * checkpoints in it.
   */
  readonly shared?: boolean;
  /** Whether every write is refused: for stores that are only restored from. Left out, it can be written to. */
  readonly readOnly?: boolean;
  /** What it has found out about itself; undefined while it has not, and left out where there is nothing to find out. */
  describe?(): StoreFindings | undefined;
  /**
   * Frees what uploads of dead writers take up though it never lists: of the files that `isDead` says yes to, those begun before
   * `before` (by the store's clock), and those of `unfinished` whenever they began: not every service lists uploads but by their exact
   * name. Answers their names. Left out where every leftover lists or goes by itself.
   */
  tidy?(options: {
    readonly before: number;
    readonly isDead: (name: string) => boolean;
    readonly unfinished?: readonly string[];
  }): Promise<readonly string[]>;
  /** Lets go of what it holds open, and ends requests that no signal can end any more. What is stored stays. */
  close(): Promise<void>;
}

/** Whether two stores are one place, so that what is known of a file in one is known of it in the other. */
export function isSamePlace(a: CheckpointStore, b: CheckpointStore): boolean {
  return a === b || (a.identity ?? a.location) === (b.identity ?? b.location);
}
