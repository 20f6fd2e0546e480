import {
  backoffMs,
  CairnError,
  isCairnError,
  type KvProvider,
  type KvReader,
  LEVEL_FORMAT,
  removeFolder,
  repeatEvery,
  resolvable,
  Semaphore,
  systemClock,
  unlessFailed,
} from "@cairn/kv";
import type { OwnIndexStatus, TxId } from "@cairn/client";
import { parsePosition } from "@cairn/text";
import type { Logger } from "pino";
import type { IndexStore } from "../index/index-store.ts";
import { IndexPosition } from "../index/index-position.ts";
import { evictionsAfter } from "../index/rows/purge-row.ts";
import { firstRow } from "../index/rows/row-cursor.ts";
import { logFailure } from "../observe/failures.ts";
import { folderForCapture } from "./checkpointed-files.ts";
import { beingBuilt, differs, failed, notLevel } from "./index-errors.ts";
import { type CompleteBuild, IndexFolders } from "./index-folders.ts";
import { IndexThread } from "./index-thread.ts";
import type { OwnIndexOptions, ServedIndex } from "./own-index.ts";
import { type RestoredFiles, restoredDigests } from "./restored-digests.ts";
import { type FedBatch, StateFeed } from "./state-feed.ts";

export interface KeptIndexParts {
  readonly options: OwnIndexOptions;
  /** The folder of all builds of this index. */
  readonly dir: string;
  readonly index: IndexStore;
  readonly provider: KvProvider;
  readonly logger: Logger;
  /** Reports an error in reading `index`. */
  readonly suspect: (error: unknown) => void;
  /** Ends the processes that have files in a folder open. */
  readonly release: (dir: string) => Promise<void>;
}

/** A checkpoint that was restored, to be examined. */
export interface RestoredCheckpoint extends RestoredFiles {
  readonly name: string;
  readonly txId: TxId;
  /** The node that saved it. */
  readonly node: string;
  readonly isOfThisNode: boolean;
}

/** The number of batches that an index may have been sent and not applied. */
const MAX_BATCHES = 4;
/** How often a live index is asked whether it has to remove what was evicted (ms). */
const PURGE_LOOK_MS = 10_000;
/** How long a capture waits for an index to have what the node's index has (ms). */
const CAPTURE_WAIT_MS = 10_000;
/** Why an index is left that has to be built anew. */
const REBUILD = new Error("the index is built anew");
const RETRY = { firstMs: 1_000, maxMs: 3_600_000 };

/**
 * One index of one's own, as a node keeps it:
 *
 *    building ──▶ behind ◀──▶ live
 *        ▲           │          │
 *        │           ▼          ▼
 *        └──────── failed, until the next attempt, which builds it anew
 *
 * A complete build answers queries until another one has taken its place, whatever its version. Nothing that happens
 * here concerns the node.
 */
export class KeptIndex {
  readonly name: string;
  readonly position = new IndexPosition();
  readonly #parts: KeptIndexParts;
  readonly #folders: IndexFolders;
  readonly #feed: StateFeed;
  readonly #stop = new AbortController();
  #running: Promise<void> = Promise.resolve();
  #thread: IndexThread | undefined;
  #served: CompleteBuild | undefined;
  #state: OwnIndexStatus["state"] = "building";
  #built = 0;
  /** Whether the next attempt builds it anew although there is a complete build. */
  #isAnew = false;
  /** The last transaction that it had when a checkpoint showed that it may be wrong, and it was built anew. */
  #suspectUpTo: TxId | undefined;
  /** A failure that building it anew did not repair. */
  #lasting: CairnError | undefined;
  /** Ends the following of the index with an error. */
  #break: (error: Error) => void = () => undefined;
  #failure: { readonly error: CairnError; readonly since: number; readonly nextTryAt: number } | undefined;
  readonly #settled = resolvable();

  constructor(parts: KeptIndexParts) {
    const { options, dir, index } = parts;
    this.name = options.name;
    this.#parts = parts;
    this.#folders = new IndexFolders(dir);
    this.#feed = new StateFeed(index, options);
  }

  /** Resolves when it is live or has failed for the first time. */
  get settled(): Promise<void> {
    return this.#settled.promise;
  }

  get status(): OwnIndexStatus {
    const { name, version } = this.#parts.options;
    const failure = this.#failure;
    return {
      name,
      version,
      state: this.#state,
      txId: this.#thread === undefined || this.#state === "building" ? null : this.position.txId,
      served: this.#served?.version ?? null,
      built: this.#state === "building" ? this.#built : null,
      failure:
        failure === undefined
          ? null
          : {
              code: failure.error.code,
              message: failure.error.message,
              hint: failure.error.hint ?? null,
              since: new Date(failure.since).toISOString(),
              nextTryAt: new Date(failure.nextTryAt).toISOString(),
            },
    };
  }

  /** Returns the build that answers queries. Throws `NOT_READY` or `OWN_INDEX_FAILED`. */
  served(): ServedIndex {
    if (this.#failure !== undefined) throw this.#failure.error;
    if (this.#served === undefined) throw beingBuilt(this.name, this.#built);
    return this.#open(this.#served);
  }

  start(): void {
    this.#running = this.#run(this.#stop.signal);
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await Promise.all([this.#thread?.close(), this.#running]);
  }

  async #run(signal: AbortSignal): Promise<void> {
    for (let failures = 0; !signal.aborted;) {
      try {
        await this.#keep(signal);
        failures = 0;
      } catch (thrown) {
        if (signal.aborted) return;
        failures += 1;
        const pauseMs = thrown === this.#lasting ? RETRY.maxMs : backoffMs(failures - 1, RETRY);
        this.#fail(thrown, pauseMs);
        await systemClock.wait(pauseMs, signal);
      }
    }
  }

  #fail(thrown: unknown, pauseMs: number): void {
    const error = failed(this.name, thrown);
    if (this.#served !== undefined) void this.#parts.release(this.#served.dir);
    const now = systemClock.now();
    this.#failure = { error, since: this.#failure?.since ?? now, nextTryAt: now + pauseMs };
    this.#served = undefined;
    // Its files may be why it failed.
    this.#isAnew = true;
    this.#become("failed");
    logFailure(
      this.#parts.logger,
      "error",
      error,
      "The node itself goes on, and builds the index anew later.",
    );
  }

  #become(state: OwnIndexStatus["state"]): void {
    if (state === this.#state) return;
    this.#state = state;
    if (state === "live") {
      this.#failure = undefined;
      const { version } = this.#parts.options;
      this.#parts.logger.info({ index: this.name, version, txId: this.position.txId }, "the index is live");
    }
    if (state === "live" || state === "failed") this.#settled.resolve();
  }

  /** Returns when the signal is aborted, or the index has to be built anew. */
  async #keep(signal: AbortSignal): Promise<void> {
    const complete = this.#isAnew ? undefined : await this.#folders.complete();
    const resumed = complete === undefined ? undefined : await this.#resume(complete);
    await this.#folders.removeOthers(this.#served?.dir);
    const thread = resumed ?? (await this.#build(signal));
    try {
      await this.#follow(thread, signal);
    } catch (error) {
      // The outcomes that name what changed were removed.
      if (error !== REBUILD && !isCairnError(error, "WATCH_COMPACTED")) throw error;
      this.#isAnew = true;
    } finally {
      this.#thread = undefined;
      await thread.close();
    }
  }

  /** Serves a complete build unless it is of another history. Returns its thread if it can be continued. */
  async #resume(complete: CompleteBuild): Promise<IndexThread | undefined> {
    const thread = await IndexThread.start(this.#open(complete));
    const { position } = thread;
    const standing = position === undefined ? "unknown" : await this.#feed.standing(position);
    if (standing !== "unknown") this.#served = complete;
    if (standing === "near" && complete.version === this.#parts.options.version) return thread;
    await thread.close();
    return undefined;
  }

  /** Reads the node's index. */
  async #read<T>(read: (rows: KvReader) => Promise<T>): Promise<T> {
    const { index, suspect } = this.#parts;
    try {
      return await index.read(read);
    } catch (error) {
      suspect(error);
      throw error;
    }
  }

  async #build(signal: AbortSignal): Promise<IndexThread> {
    const { index, provider, options, logger, release } = this.#parts;
    const { name, version } = options;
    if (provider.format !== LEVEL_FORMAT) throw notLevel(provider.format);
    this.#built = 0;
    this.#become("building");
    logger.info({ index: name, version, documents: index.state.documents }, "building the index");
    const { copy } = this.#folders;
    const dir = await this.#folders.begin(version);
    const build = { dir, version, options: options.options, purged: 0 };
    let thread: IndexThread | undefined;
    try {
      await index.rows.capture(copy, { unchecked: true });
      thread = await IndexThread.start(this.#open(build));
      this.#thread = thread;
      signal.throwIfAborted();
      const position = await thread.build(copy, options.buckets, (documents) => (this.#built = documents));
      thread.position = position;
      const before = this.#served;
      this.#served = { ...build, purged: parsePosition(position, "position").txId };
      await this.#folders.publish(this.#served);
      if (before !== undefined) await release(before.dir);
      await this.#folders.removeOthers(build.dir);
      this.#isAnew = false;
      return thread;
    } catch (error) {
      await thread?.close();
      throw error;
    } finally {
      await removeFolder(copy);
    }
  }

  async #follow(thread: IndexThread, signal: AbortSignal): Promise<void> {
    const begin = thread.position;
    if (begin === undefined) throw new Error("the index has no position after it was built");
    this.#thread = thread;
    this.position.set(parsePosition(begin, "position").txId);
    const broken = new AbortController();
    this.#break = (error) => broken.abort(error);
    const slots = new Semaphore(MAX_BATCHES);
    const either = AbortSignal.any([signal, broken.signal]);
    const purging = repeatEvery(
      systemClock,
      PURGE_LOOK_MS,
      async () => await this.#purge(thread, () => broken.abort(REBUILD)),
      (error) => broken.abort(error),
    );
    try {
      for await (const batch of this.#feed.after(begin, either, (isLive) =>
        this.#become(isLive ? "live" : "behind"),
      )) {
        const done = await slots.acquire();
        void this.#apply(thread, batch)
          .catch((error: unknown) => broken.abort(error))
          .finally(done);
      }
    } finally {
      await purging.stop();
    }
    if (!signal.aborted) broken.signal.throwIfAborted();
  }

  async #apply(thread: IndexThread, batch: FedBatch): Promise<void> {
    await thread.apply(batch);
    if (batch.complete) this.position.set(batch.txId);
  }

  /**
   * Copies the files of a live index into a folder in `into`, once it has what the node's index has now. Does nothing if
   * that takes too long, or if the index is not live or cannot be copied: then it is in no checkpoint.
   */
  async capture(into: string): Promise<void> {
    const { index, options } = this.#parts;
    const { txId } = index.state;
    if (!options.checkpoint || this.#state !== "live") return;
    if ((await unlessFailed(this.position.reached(txId, CAPTURE_WAIT_MS), "TX_TIMEOUT", "late")) === "late")
      return;
    const thread = this.#thread;
    if (thread?.can.has("capture") !== true) return;
    const evicted = await this.#evicted();
    if (evicted && !thread.can.has("purge")) return;
    const dir = await folderForCapture(into, options);
    if (!(await thread.capture(dir, evicted))) await removeFolder(dir);
    else if (evicted) await this.#notePurged(txId);
  }

  /**
   * Compares the index in a checkpoint with one that is built anew. If they differ, the live one may be as wrong, so it
   * is built anew, too, and goes on answering meanwhile. If that did not help, it fails.
   */
  async compare(
    { name, txId, node, isOfThisNode, ...files }: RestoredCheckpoint,
    signal: AbortSignal,
  ): Promise<void> {
    const { options, index, logger } = this.#parts;
    const digests = await restoredDigests(options, files, signal);
    if (digests === undefined) return;
    if (digests.restored === digests.built) {
      logger.debug({ index: this.name, checkpoint: name }, "the index in the checkpoint is as it is built");
      return;
    }
    const found = { checkpoint: name, node, ...digests };
    if (this.#suspectUpTo !== undefined && isOfThisNode && txId > this.#suspectUpTo) {
      this.#lasting = differs("Its module makes different content of the same documents.", found);
      this.#break(this.#lasting);
      return;
    }
    const isFirst = this.#suspectUpTo === undefined;
    const error = differs(`The index ${this.name} is not as it is built.`, found);
    logFailure(
      logger,
      "error",
      error,
      isFirst ? "The node builds it anew." : "The node has built it anew once.",
    );
    if (!isFirst) return;
    this.#suspectUpTo = index.state.txId;
    this.#break(REBUILD);
  }

  /** Removes what was evicted from the files. An index that cannot do so is built again. */
  async #purge(thread: IndexThread, rebuild: () => void): Promise<void> {
    const { txId } = this.position;
    if (this.#state !== "live" || !(await this.#evicted())) return;
    if (!thread.can.has("purge")) {
      rebuild();
      return;
    }
    if (await thread.purge()) await this.#notePurged(txId);
  }

  /** Returns whether the files may contain what was evicted. */
  async #evicted(): Promise<boolean> {
    const purged = this.#served?.purged ?? 0;
    const first = await this.#read(async (rows) => await firstRow(rows, evictionsAfter(purged)));
    return first !== undefined;
  }

  async #notePurged(txId: TxId): Promise<void> {
    if (this.#served === undefined) return;
    this.#served = { ...this.#served, purged: txId };
    await this.#folders.note(this.#served);
  }

  #open(build: CompleteBuild): ServedIndex {
    const { module, version, options } = this.#parts.options;
    const context = { name: this.name, version: build.version, dir: build.dir };
    return { module, options: build.version === version ? options : build.options, context };
  }
}
