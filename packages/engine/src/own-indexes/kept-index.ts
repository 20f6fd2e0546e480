import {
  backoffMs,
  CairnError,
  errorMessage,
  isCairnError,
  type KvProvider,
  LEVEL_FORMAT,
  removeFolder,
  resolvable,
  Semaphore,
  systemClock,
} from "@cairn/kv";
import type { OwnIndexStatus, Position } from "@cairn/client";
import { parsePosition } from "@cairn/text";
import type { Logger } from "pino";
import type { IndexStore } from "../index/index-store.ts";
import { IndexPosition } from "../index/index-position.ts";
import { logFailure } from "../observe/failures.ts";
import { type CompleteBuild, IndexFolders } from "./index-folders.ts";
import { IndexThread } from "./index-thread.ts";
import type { OwnIndexOptions, ServedIndex } from "./own-index.ts";
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
}

/** The number of batches that an index may have been sent and not applied. */
const MAX_BATCHES = 4;
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
        await this.#keep(failures > 0, signal);
        failures = 0;
      } catch (thrown) {
        if (signal.aborted) return;
        failures += 1;
        const pauseMs = backoffMs(failures - 1, RETRY);
        this.#fail(thrown, pauseMs);
        await systemClock.wait(pauseMs, signal);
      }
    }
  }

  #fail(thrown: unknown, pauseMs: number): void {
    const error = failed(this.name, thrown);
    const now = systemClock.now();
    this.#failure = { error, since: this.#failure?.since ?? now, nextTryAt: now + pauseMs };
    this.#served = undefined;
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
  async #keep(anew: boolean, signal: AbortSignal): Promise<void> {
    const complete = anew ? undefined : await this.#folders.complete();
    const resumed = complete === undefined ? undefined : await this.#resume(complete);
    await this.#folders.removeOthers(this.#served?.dir);
    const thread = resumed ?? (await this.#build(signal));
    try {
      await this.#follow(thread, signal);
    } catch (error) {
      // The outcomes that name what changed were removed.
      if (!isCairnError(error, "WATCH_COMPACTED")) throw error;
    } finally {
      this.#thread = undefined;
      await thread.close();
    }
  }

  /** Serves a complete build unless it is of another history. Returns its thread if it can be continued. */
  async #resume(complete: CompleteBuild): Promise<IndexThread | undefined> {
    const thread = await IndexThread.start(this.#open(complete));
    const { position } = thread;
    const standing = position === undefined ? "unknown" : await this.#standing(position);
    if (standing !== "unknown") this.#served = complete;
    if (standing === "near" && complete.version === this.#parts.options.version) return thread;
    await thread.close();
    return undefined;
  }

  async #standing(position: Position): ReturnType<StateFeed["standing"]> {
    try {
      return await this.#feed.standing(position);
    } catch (error) {
      this.#parts.suspect(error);
      throw error;
    }
  }

  async #build(signal: AbortSignal): Promise<IndexThread> {
    const { index, provider, options, logger } = this.#parts;
    const { name, version } = options;
    if (provider.format !== LEVEL_FORMAT) throw notLevel(provider.format);
    this.#built = 0;
    this.#become("building");
    logger.info({ index: name, version, documents: index.state.documents }, "building the index");
    const { copy } = this.#folders;
    const build = { dir: await this.#folders.begin(version), version, options: options.options };
    let thread: IndexThread | undefined;
    try {
      await index.rows.capture(copy, { unchecked: true });
      thread = await IndexThread.start(this.#open(build));
      this.#thread = thread;
      signal.throwIfAborted();
      const position = await thread.build(copy, options.buckets, (documents) => (this.#built = documents));
      thread.position = position;
      await this.#folders.publish(build);
      this.#served = build;
      await this.#folders.removeOthers(build.dir);
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
    const slots = new Semaphore(MAX_BATCHES);
    const either = AbortSignal.any([signal, broken.signal]);
    for await (const batch of this.#feed.after(begin, either, (isLive) =>
      this.#become(isLive ? "live" : "behind"),
    )) {
      const done = await slots.acquire();
      void this.#apply(thread, batch)
        .catch((error: unknown) => broken.abort(error))
        .finally(done);
    }
    if (!signal.aborted) broken.signal.throwIfAborted();
  }

  async #apply(thread: IndexThread, batch: FedBatch): Promise<void> {
    await thread.apply(batch);
    if (batch.complete) this.position.set(batch.txId);
  }

  #open({ dir, version, options }: CompleteBuild): ServedIndex {
    const { module } = this.#parts.options;
    return { module, options, context: { name: this.name, version, dir } };
  }
}

function beingBuilt(name: string, documents: number): CairnError {
  return new CairnError(
    "NOT_READY",
    `The index ${name} is being built: it has ${documents.toLocaleString("en")} documents so far.`,
    "Try again later. cairn status shows how far it is. The node's documents can be read meanwhile.",
  );
}

function notLevel(format: string): CairnError {
  return new CairnError(
    "CONFIG_INVALID",
    `Indexes of one's own are built from copies of LevelDB, and the kv-store is ${format}.`,
    "Configure cairn.leveldb/->kv-store, or remove cairn/indexes.",
  );
}

function failed(name: string, error: unknown): CairnError {
  const hint = isCairnError(error) && error.hint !== undefined ? `${error.hint} ` : "";
  return new CairnError("OWN_INDEX_FAILED", `The index ${name} failed: ${errorMessage(error)}`, {
    hint: `${hint}Correct its module, its configuration or the document that the message names. The node builds it anew by itself, at most an hour later, or when it is started again.`,
    cause: error,
  });
}
