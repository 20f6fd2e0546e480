import {
  backoffMs,
  CairnError,
  isCairnError,
  type KvProvider,
  LEVEL_FORMAT,
  makeFolder,
  type RepeatedWork,
  removeFolder,
  repeatEvery,
  resolvable,
  systemClock,
  TIMED_OUT,
  unlessFailed,
  withTimeout,
} from "@cairn/kv";
import type { OwnIndexStatus, TxId } from "@cairn/client";
import { isoTime, parsePosition } from "@cairn/text";
import type { Logger } from "pino";
import type { IndexStore } from "../index/index-store.ts";
import { IndexPosition } from "../index/index-position.ts";
import { evictionsAfter } from "../index/rows/purge-row.ts";
import { firstRow } from "../index/rows/row-cursor.ts";
import { asFailure, logFailure } from "../observe/failures.ts";
import { applyBatches } from "./apply-batches.ts";
import { CheckpointComparison, type RestoredCheckpoint } from "./checkpoint-comparison.ts";
import { type CompleteBuild, IndexFolders, type OwnPurge } from "./index-folders.ts";
import { isBuildOf, KeptBuild } from "./kept-build.ts";
import { IndexThread } from "./index-thread.ts";
import type { OwnIndexOptions, ServedIndex } from "./own-index.ts";
import { beingBuilt, notLevel, ownIndexFailed } from "./own-index-errors.ts";
import { StateFeed } from "./state-feed.ts";

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

/** How often a live index is asked whether it has to remove what was evicted (ms). */
const PURGE_LOOK_MS = 10_000;
/** How long a capture waits for an index to have what the node's index has (ms). */
const CAPTURE_WAIT_MS = 10_000;
/** How long a checkpoint waits for the files of an index (ms): gigabytes are copied in less. */
const CAPTURE_MS = 120_000;
/** Why an index is left that has to be built anew. */
const REBUILD = new Error("the index is built anew");
/** The pause after an attempt that failed is at least this multiple of the time that it took. */
const ATTEMPT_SHARE = 4;
const NOTHING: OwnPurge = { txId: 0, at: 0 };
const RETRY = { firstMs: 1_000, maxMs: 3_600_000 };

/**
 * One index of one's own, as a node keeps it:
 *
 *    building ──▶ behind ◀──▶ live
 *        ▲           │          │
 *        │           ▼          ▼
 *        └──────── failed, until the next attempt, which goes on where the files are
 *
 * A complete build answers queries until another one has taken its place, whatever its version, unless the index has
 * failed. Nothing that happens here concerns the node.
 */
export class KeptIndex {
  readonly name: string;
  readonly options: OwnIndexOptions;
  /** For callers that wait until it contains a transaction. */
  readonly position = new IndexPosition();
  readonly #parts: KeptIndexParts;
  readonly #build: KeptBuild;
  readonly #feed: StateFeed;
  readonly #comparison: CheckpointComparison;
  readonly #stop = new AbortController();
  #running: Promise<void> = Promise.resolve();
  #purging: RepeatedWork | undefined;
  /** Ends the present attempt. */
  #broken = new AbortController();
  #thread: IndexThread | undefined;
  #state: OwnIndexStatus["state"] = "building";
  #built = 0;
  /** Whether the next attempt builds it anew although there is a complete build. */
  #isAnew = false;
  /** The number of attempts that have failed since it was last live. */
  #failures = 0;
  /** When the attempt began that is to make it live; undefined once it has. */
  #begunAt: number | undefined;
  #failure: { readonly error: CairnError; readonly since: string; readonly nextTryAt: string } | undefined;
  readonly #settled = resolvable();

  readonly #onNotice = (notice: string): void => this.#parts.logger.warn({ index: this.name }, notice);

  constructor(parts: KeptIndexParts) {
    const { options, dir, index } = parts;
    this.name = options.name;
    this.options = options;
    this.#parts = parts;
    this.#build = new KeptBuild(new IndexFolders(dir), parts.release);
    this.#feed = new StateFeed(index, options);
    this.#comparison = new CheckpointComparison(parts);
  }

  /** Resolves when it is live or has failed for the first time. */
  get settled(): Promise<void> {
    return this.#settled.promise;
  }

  get status(): OwnIndexStatus {
    const { name, version } = this.options;
    const { error, since = "", nextTryAt = "" } = this.#failure ?? {};
    return {
      name,
      version,
      state: this.#state,
      txId: this.#state === "behind" || this.#state === "live" ? this.position.txId : null,
      served: error === undefined ? (this.#build.served?.version ?? null) : null,
      built: this.#state === "building" ? this.#built : null,
      failure: error === undefined ? null : { ...asFailure(error), since, nextTryAt },
    };
  }

  /** The newest transaction that it may have been given. */
  get newest(): TxId {
    return this.#parts.index.state.txId;
  }

  /** Returns the build that answers queries. Throws `NOT_READY` or `OWN_INDEX_FAILED`. */
  served(): ServedIndex {
    if (this.#failure !== undefined) throw this.#failure.error;
    const { served } = this.#build;
    if (served === undefined) throw beingBuilt(this.name, this.#built);
    return this.#open(served);
  }

  /** Builds it anew if the files that a query has found to be damaged are still served. Returns the error for the query. */
  damaged({ context }: ServedIndex, error: CairnError): CairnError {
    if (this.#build.served?.dir === context.dir) {
      logFailure(this.#parts.logger, "warn", error, `The index ${this.name} is built anew.`);
      this.#build.isServed = false;
      // It may be an earlier version, which nothing changes.
      if (this.#state !== "building") this.#broken.abort(REBUILD);
    }
    return beingBuilt(this.name, 0, error);
  }

  /** What was removed from the files; undefined if there are none. The copy for a build may contain anything. */
  get purged(): OwnPurge | undefined {
    return this.#state === "building" ? NOTHING : this.#build.purged;
  }

  /** The buckets whose documents queries may return; all if undefined. */
  get buckets(): readonly string[] | undefined {
    const { buckets } = this.options;
    const { served } = this.#build;
    if (served === undefined || isBuildOf(this.options, served)) return buckets;
    return served.buckets && buckets && [...new Set([...served.buckets, ...buckets])];
  }

  start(): void {
    const { signal } = this.#stop;
    this.#running = this.#run(signal);
    let broken = this.#broken;
    const purge = async (): Promise<void> => {
      // An attempt that ends during its purge closes the thread, which must not fail the next attempt.
      broken = this.#broken;
      await this.#purge();
    };
    this.#purging = repeatEvery(systemClock, PURGE_LOOK_MS, purge, (error) => broken.abort(error));
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await Promise.all([this.#purging?.stop(), this.#running]);
  }

  async #run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      this.#begunAt = performance.now();
      this.#broken = new AbortController();
      try {
        await this.#keep(signal);
      } catch (thrown) {
        if (signal.aborted) return;
        // An attempt may take minutes of a processor.
        const tookMs = this.#begunAt === undefined ? 0 : performance.now() - this.#begunAt;
        const leastMs = Math.min(RETRY.maxMs, ATTEMPT_SHARE * tookMs);
        const pauseMs =
          thrown === this.#comparison.lasting
            ? RETRY.maxMs
            : Math.max(leastMs, backoffMs(this.#failures, RETRY));
        this.#failures += 1;
        this.#fail(thrown, pauseMs);
        await systemClock.wait(pauseMs, signal);
      }
    }
  }

  #fail(thrown: unknown, pauseMs: number): void {
    const error = ownIndexFailed(this.name, thrown);
    const now = systemClock.now();
    this.#failure = { error, since: this.#failure?.since ?? isoTime(now), nextTryAt: isoTime(now + pauseMs) };
    this.#become("failed");
    logFailure(this.#parts.logger, "error", error, "The node itself goes on, and tries again later.");
  }

  #become(state: OwnIndexStatus["state"]): void {
    if (state === this.#state) return;
    this.#state = state;
    if (state === "live") {
      this.#failure = undefined;
      this.#failures = 0;
      this.#begunAt = undefined;
      const { version } = this.options;
      this.#parts.logger.info({ index: this.name, version, txId: this.position.txId }, "the index is live");
    }
    if (state === "live" || state === "failed") this.#settled.resolve();
  }

  /** Returns when the signal is aborted, or the index has to be built anew. */
  async #keep(signal: AbortSignal): Promise<void> {
    // Before the build is found: an eviction that is noticed in between would remove it.
    this.#build.isHeld = true;
    let thread: IndexThread | undefined;
    try {
      const complete = await this.#build.find();
      if (!this.#isAnew && complete !== undefined) thread = await this.#resume(complete);
      thread ??= await this.#buildAnew();
      await this.#follow(thread, signal);
    } catch (error) {
      // The outcomes that name what changed were removed.
      if (error !== REBUILD && !isCairnError(error, "WATCH_COMPACTED")) throw error;
      this.#isAnew = true;
    } finally {
      this.#thread = undefined;
      await thread?.close();
      this.#build.isHeld = false;
    }
    if (!this.#build.isServed) await this.#build.leave();
  }

  /** Serves a complete build if it is of this history, and otherwise removes it. Returns its thread to go on with. */
  async #resume(complete: CompleteBuild): Promise<IndexThread | undefined> {
    // Whatever happens here, the next attempt builds the index anew.
    this.#isAnew = true;
    const thread = await this.#start(complete);
    try {
      const standing = thread.position === undefined ? "unknown" : await this.#feed.standing(thread.position);
      this.#build.isServed = standing !== "unknown";
      this.#isAnew = standing !== "near" || !isBuildOf(this.options, complete);
    } finally {
      if (this.#isAnew) await thread.close();
    }
    this.#build.isHeld = !this.#isAnew;
    if (!this.#build.isServed) await this.#build.leave();
    return this.#isAnew ? undefined : thread;
  }

  async #buildAnew(): Promise<IndexThread> {
    const { index, provider, logger } = this.#parts;
    const { options, name } = this;
    const { version } = options;
    if (provider.format !== LEVEL_FORMAT) throw notLevel(provider.format);
    this.#built = 0;
    this.#build.isHeld = false;
    this.#become("building");
    logger.info({ index: name, version, documents: index.state.documents }, "building the index");
    const { copy } = this.#build.folders;
    const dir = await this.#build.folders.begin(version);
    const build = { dir, version, options: options.options, buckets: options.buckets };
    let thread: IndexThread | undefined;
    try {
      await index.rows.capture(copy, { unchecked: true });
      thread = await this.#start({ ...build, purged: NOTHING });
      const position = await thread.build(copy, options.buckets, (documents) => (this.#built = documents));
      thread.position = position;
      const { txId } = parsePosition(position, "position");
      this.#build.isHeld = true;
      await this.#build.replace({ ...build, purged: { txId, at: systemClock.now() } });
      this.#isAnew = false;
      return thread;
    } catch (error) {
      await thread?.close();
      await removeFolder(dir);
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
    const either = AbortSignal.any([signal, this.#broken.signal]);
    await applyBatches(thread, (onLive) => this.#feed.after(begin, either, onLive), {
      onApplied: (txId) => this.position.set(txId),
      onState: (isLive) => this.#become(isLive ? "live" : "behind"),
      onError: (error) => this.#broken.abort(error),
    });
    if (!signal.aborted) this.#broken.signal.throwIfAborted();
  }

  /**
   * Copies the files of a live index into the new folder `dir`, once it has what the node's index has now. Returns false
   * if that takes too long, or if the index is not live or cannot be copied.
   */
  async capture(dir: string): Promise<boolean> {
    const { txId } = this.#parts.index.state;
    if (this.#state !== "live") return false;
    if ((await unlessFailed(this.position.reached(txId, CAPTURE_WAIT_MS), "TX_TIMEOUT", "late")) === "late")
      return false;
    const thread = this.#thread;
    if (thread?.can.has("capture") !== true) return false;
    const evicted = await this.#evicted();
    if (evicted && !thread.can.has("purge")) return false;
    await makeFolder(dir);
    const isCaptured = await withTimeout(thread.capture(dir, evicted), CAPTURE_MS);
    if (isCaptured === true) {
      if (evicted) await this.#build.notePurged(txId);
      return true;
    }
    if (isCaptured === TIMED_OUT) {
      this.#broken.abort(new CairnError("INTERNAL", `It was not captured within ${CAPTURE_MS / 1_000} s.`));
      await thread.close();
    }
    return false;
  }

  /**
   * Compares the index in a checkpoint with one that is built anew. If they differ, the live one may be as wrong, so it
   * is built anew, too, and goes on answering meanwhile. If that did not help, it fails.
   */
  async compare(restored: RestoredCheckpoint, signal: AbortSignal): Promise<void> {
    const verdict = await this.#comparison.verdict(restored, { signal, onNotice: this.#onNotice });
    if (verdict === undefined) return;
    this.#isAnew = true;
    if (this.#state !== "building") this.#broken.abort(verdict === "suspect" ? REBUILD : verdict);
  }

  /**
   * Removes what was evicted from the files of the complete build. If they cannot be changed, it is no longer served,
   * and the index is built anew.
   */
  async #purge(): Promise<void> {
    const { txId } = this.position;
    const { dir } = this.#build;
    if (!(await this.#evicted())) return;
    const thread = this.#thread;
    if (thread === undefined) await this.#build.leave(dir);
    else if (this.#state !== "live") return;
    else if (!thread.can.has("purge")) this.#broken.abort(REBUILD);
    else if (await thread.purge()) await this.#build.notePurged(txId);
  }

  /** Returns whether the files of the complete build may contain what was evicted. */
  async #evicted(): Promise<boolean> {
    const { purged } = this.#build;
    if (purged === undefined) return false;
    const { index, suspect } = this.#parts;
    try {
      return (await index.read((rows) => firstRow(rows, evictionsAfter(purged.txId)))) !== undefined;
    } catch (error) {
      suspect(error);
      throw error;
    }
  }

  async #start(build: CompleteBuild): Promise<IndexThread> {
    return await IndexThread.start(this.#open(build), this.#onNotice, this.#stop.signal);
  }

  #open(build: CompleteBuild): ServedIndex {
    const { module, options } = this.options;
    const context = { name: this.name, version: build.version, dir: build.dir };
    return { module, options: isBuildOf(this.options, build) ? options : build.options, context };
  }
}
