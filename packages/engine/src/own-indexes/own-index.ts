import type { Json, Position, QueryArguments } from "@cairn/client";
import type { StateChange } from "../index/read/states.ts";

/** What a module of kind `index` gets in addition to its options. */
export interface OwnIndexContext {
  readonly name: string;
  readonly version: number;
  /** The folder of its files, which belongs to this version of the index alone. */
  readonly dir: string;
  /**
   * Whether the index is only asked: in a process of its own, beside the thread that changes the same files. Then only
   * `query` and `close` are called, and nothing may be written.
   */
  readonly readOnly: boolean;
  /** Reports a sentence to the operator. */
  readonly onNotice: (sentence: string) => void;
}

/** The function that a module of kind `index` exports. It is called in a thread or process of its own. */
export type OwnIndexModule = (
  options: Readonly<Record<string, unknown>>,
  context: OwnIndexContext,
) => OwnIndex | Promise<OwnIndex>;

/**
 * An index of one's own: files that a node derives from its documents, and keeps with its index. It gets states of
 * documents, never operations, so it needs no history. Calls follow one another: there is one at a time, and between
 * batches that belong together there are none of `capture`, `purge` and `digest`.
 */
export interface OwnIndex {
  /** What its files contain, read from them; undefined if they are new, or a build of them was not completed. */
  position(): Position | undefined | Promise<Position | undefined>;
  /**
   * Applies a batch. Batches up to and including one that is `complete` belong together: what they bring is visible, and
   * survives a crash, only together with the last one's position. A build that is complete survives a power loss. The
   * same batches may arrive again. If it throws, what was visible before remains, and the index is opened again before
   * it gets the next batch.
   */
  apply(batch: IndexBatch): void | Promise<void>;
  /**
   * Copies its files to the empty folder `dir`, as of its position: regular files, no folders or links. Their names
   * consist of letters, digits, dots, dashes and underscores, at most 100 together with `own-NAME.VERSION.` before them.
   * Batches may be applied as soon as it returns, also while the files are still being copied. An index without it is in
   * no checkpoint.
   */
  capture?(dir: string): IndexCapture | Promise<IndexCapture>;
  /** Removes from the files what changes have deleted. An index without it is built again after an eviction. */
  purge?(): void | Promise<void>;
  /** Returns the digest of the content. Equal content has equal digests, however it came about. */
  digest?(): string | Promise<string>;
  /** Answers a query as of one position. Throws a `REQUEST_INVALID` if the query is wrong. */
  query?(query: IndexQuery): QueryAnswer | Promise<QueryAnswer>;
  close(): void | Promise<void>;
}

/** A capture, whose position is that of the time when it was returned. */
export interface IndexCapture {
  /** Settles when the copy is complete, or has failed. */
  readonly copied: Promise<void>;
}

/**
 * New states of documents, each key at most once up to the next complete batch. The first batch of a build begins with
 * the change `clear` without a bucket, which removes everything, and its documents are in key order.
 */
export interface IndexBatch {
  /** The content's position once the batches are complete: then it is exactly what the documents are as of then. */
  readonly position: Position;
  readonly complete: boolean;
  readonly changes: readonly StateChange[];
}

export interface IndexQuery {
  /** In SQLite, a statement. */
  readonly text: string;
  readonly args: QueryArguments;
}

export interface QueryAnswer {
  readonly position: Position;
  readonly columns: readonly string[];
  /** Read only as far as the limits of the query allow. */
  readonly rows: Iterable<readonly Json[]> | AsyncIterable<readonly Json[]>;
}

/** An index of one's own, as a node is configured to keep it. */
export interface OwnIndexOptions {
  readonly name: string;
  /** Another version is built anew. */
  readonly version: number;
  /** The module's URL, and the name of the function that it exports. */
  readonly module: { readonly url: string; readonly export: string };
  /** The module's own options, as JSON has them. */
  readonly options: Readonly<Record<string, unknown>>;
  /** The buckets whose documents it gets. Defaults to all. */
  readonly buckets?: readonly string[];
  /** Whether the node is ready only once the index is. Defaults to `later`. */
  readonly ready: "later" | "waits";
  /** Whether checkpoints contain it. */
  readonly checkpoint: boolean;
}

/** The index that answers queries: of the configured version or, while that is built, of the one before. */
export interface ServedIndex {
  readonly module: OwnIndexOptions["module"];
  readonly options: OwnIndexOptions["options"];
  readonly context: Omit<OwnIndexContext, "onNotice" | "readOnly">;
}

/** The limits of a query, beyond which its process is killed. */
export interface QueryLimits {
  readonly timeoutMs: number;
  readonly rows: number;
  readonly bytes: number;
}
