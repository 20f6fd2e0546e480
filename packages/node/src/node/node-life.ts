import { type CairnError, isCairnError } from "@cairn/kv";
import type { Logger } from "pino";
import type { Phase } from "@cairn/client";
import { type FailureReaction, reactionTo, sayReaction, waitsFirst } from "./failure-policy.ts";
import { asCairnError } from "../observe/as-cairn-error.ts";
import { indexLog } from "../replay/index-log.ts";
import { IndexPosition } from "../index/index-position.ts";
import type { IndexStore } from "../index/index-store.ts";
import { CheckpointDoubts } from "../checkpoints/checkpoint-doubts.ts";
import type { Meet } from "../checkpoints/met-chains.ts";
import type { IndexDirectory } from "../db-dir/index-directory.ts";
import { JoinPlaces } from "../join/join-places.ts";
import { restoreStores } from "../system/checkpoint-stores.ts";
import { joinIndex } from "../join/join-index.ts";
import { JoinReport } from "../join/join-report.ts";
import { tellMovedAside } from "../db-dir/moved-aside-line.ts";
import { type LogIdentity } from "../log/log-identity.ts";
import { logOffset } from "../index/rows/index-state.ts";
import type { NodeObservation } from "./node-observation.ts";
import { ReadyServices } from "./ready-services.ts";
import { retryPause } from "../concurrency/retry-pause.ts";
import { TableCheck } from "../index/table-check.ts";
import type { System } from "../system/system.ts";
import { tellFailure } from "../observe/tell-failure.ts";
import type { TxLog } from "../log/tx-log.ts";

const HALT: FailureReaction = { kind: "halt" };

/** Who is told of a {@link NodeLife}. */
export interface LifeListener {
  ready(): void;
  /** The log is open, once and for all. */
  opened(log: TxLog): void;
  /** The chains of a checkpoint are known; answers how they differ from the index's. */
  readonly meet: Meet;
}

/**
 * The life of one node's index: open the log → join → replay → follow, and again from joining when the log or the index turn out
 * to be other than they were. It only ends when it is told to stop, or halts where going on could serve what is not the log's.
 */
export class NodeLife {
  readonly position = new IndexPosition();
  report = new JoinReport();
  phase: Phase = "restoring";
  /** It is about to stop, and serves until then. */
  isDraining = false;
  /** The phase that status and health report: a draining node is stopping, though it still serves. */
  get reportedPhase(): Phase {
    return this.isDraining && this.phase === "ready" ? "stopping" : this.phase;
  }

  log: TxLog | undefined;
  /** As the configuration has it; null where only the log knows. */
  readonly logName: string | null;
  identity: LogIdentity | undefined;
  index: IndexStore | undefined;
  /** Of a ready node. */
  services: ReadyServices | undefined;
  failure: CairnError | undefined;
  /** Reading the log fails, which was told. */
  isLogAway = false;
  readonly observation: NodeObservation;
  readonly #system: System;
  readonly #directory: IndexDirectory;
  readonly #logger: Logger;
  readonly #stop = new AbortController();
  readonly #startedAt = performance.now();
  readonly #listener: LifeListener;
  #running: Promise<void> = Promise.resolve();
  #beforeGap = false;
  #during: "opening" | "joining" | "following" = "opening";
  #distrusted = new AbortController();
  readonly #doubts = new CheckpointDoubts();
  #replacement: string | undefined;
  /** An error after which the node does not try again. */
  #last: CairnError | undefined;

  constructor(
    system: System,
    directory: IndexDirectory,
    logger: Logger,
    observation: NodeObservation,
    listener: LifeListener,
  ) {
    this.observation = observation;
    this.#system = system;
    this.logName = system.logName ?? null;
    this.#directory = directory;
    this.#logger = logger;
    this.#listener = listener;
  }

  /** Whether the index was found to agree with the log, and nothing since has put that in doubt. */
  get agrees(): boolean {
    return this.#during === "following" && !this.isDoubted;
  }

  /** Whether something put the index or the log in doubt since the index was found to agree with it. */
  get isDoubted(): boolean {
    return this.#distrusted.signal.aborted;
  }

  /** Begins; answers at once. */
  start(): void {
    this.#running = this.#run();
  }

  /** Ends the life in order: checkpointer, following, index, log. */
  async stop(): Promise<void> {
    this.phase = "stopping";
    await this.#stopServices({ save: true });
    this.#stop.abort();
    await this.#running;
    await this.#closeIndex();
    await this.log?.close();
  }

  /**
   * Told what a use of `index` ran into: LevelDB notices damage only where it is read, so a damaged index is left as soon as
   * anybody meets it, and built anew. A submission may be the first to notice that the log is another history.
   */
  suspect(index: IndexStore, error: unknown): void {
    const matters = isCairnError(error, "INDEX_CORRUPT") || isCairnError(error, "LOG_REGRESSED");
    if (matters) this.#distrust(index, error);
  }

  #distrust(index: IndexStore, error: unknown): void {
    if (index !== this.index) return;
    this.#distrusted.abort(error);
    // Leaving takes its time, and from now on nothing more is served as right.
    if (this.phase === "ready" || this.phase === "replaying") this.#enter("restoring");
  }

  /**
   * Leaves an index that is not the log's; `live`, where given, holds the index that takes its place. False where it was left
   * already, or nothing takes its place.
   */
  replace(index: IndexStore, error: CairnError, live: string | undefined): boolean {
    if (index !== this.index || !this.agrees) return false;
    this.#replacement = live;
    this.suspect(index, error);
    return live !== undefined;
  }

  /** Stops serving an index of which it cannot be told whether it is right. */
  halt(index: IndexStore, error: CairnError): void {
    if (index !== this.index || !this.agrees) return;
    this.#last = error;
    this.#distrusted.abort(error);
  }

  async #run(): Promise<void> {
    let failures = 0;
    let suspect: CairnError | undefined;
    let places: JoinPlaces | undefined;
    while (!this.#stop.signal.aborted) {
      const before = this.position.txId;
      try {
        await this.#liveOnce(suspect);
        return;
      } catch (thrown) {
        if (this.#stop.signal.aborted) return;
        const error = asCairnError(thrown);
        const { restoredFrom } = this.report;
        const reaction = error === this.#last ? HALT : reactionTo(error, this.#during);
        failures = this.position.txId > before ? 1 : failures + 1;
        await this.#leave(error, reaction, failures);
        if (reaction.kind === "halt") return;
        this.#beforeGap = isCairnError(error, "LOG_GAP");
        if (reaction.kind === "look" && this.log !== undefined) {
          const stores = reaction.stores ? restoreStores(this.#system.checkpointer) : [];
          places ??= new JoinPlaces(this.log);
          await places.changed(stores, this.#stop.signal);
          await this.#closeIndex();
          continue;
        }
        if (isCairnError(error, "INDEX_CORRUPT")) this.#doubts.damaged(restoredFrom);
        suspect = reaction.kind === "join" && reaction.suspectIndex ? error : undefined;
        if (!waitsFirst(reaction.kind, failures)) continue;
        await retryPause(failures, this.#stop.signal);
        await this.#closeIndex();
      }
    }
  }

  /** From an open log to following it; ends without an error only when the node stops. */
  async #liveOnce(suspect: CairnError | undefined): Promise<void> {
    if (this.log === undefined) {
      this.#during = "opening";
      this.log = await this.#system.openTxLog({ signal: this.#stop.signal });
      this.#listener.opened(this.log);
    }
    this.#during = "joining";
    const replacement = this.#replacement;
    this.#replacement = undefined;
    const joined = await joinIndex({
      system: this.#system,
      log: this.log,
      directory: this.#directory,
      report: this.report,
      events: this.observation.events,
      signal: this.#stop.signal,
      suspect,
      beforeGap: this.#beforeGap,
      replacement,
      distrusted: this.#doubts.distrusted,
      onLocal: (index) => this.#use(index),
      onMovedAside: (moved, orphans) => tellMovedAside(this.#logger, moved, orphans),
    });
    this.#use(joined.index);
    this.#doubts.passedOver(this.report.damaged);
    this.identity = joined.identity;
    const { apart } = this.report;
    if (apart !== undefined) this.#logger.warn({ code: apart.code, hint: apart.hint }, apart.message);
    this.failure = undefined;
    this.#during = "following";
    await this.#follow(joined.index, joined.identity, this.log);
  }

  async #follow(index: IndexStore, identity: LogIdentity, log: TxLog): Promise<void> {
    const { state } = index;
    const distrusted = new AbortController();
    this.#distrusted = distrusted;
    // Ready means caught up with the log as it stood when the node joined.
    const goal = Math.max(identity.bounds.last + logOffset(identity, state), state.txId);
    const begin = state.txId;
    this.#enter("replaying");
    this.isLogAway = false;
    const tables = new TableCheck(index, {
      progressed: (done, total) => this.report.advance("bytes", done, total),
      failed: (error) => this.#distrust(index, error),
    });
    await indexLog({
      index,
      identity,
      log,
      logger: this.#logger,
      figures: this.observation.metrics.following,
      signal: AbortSignal.any([this.#stop.signal, distrusted.signal]),
      goal,
      onProgress: (unit, done, total) => this.report.advance(unit, done, total),
      onReady: () => void this.#readyOnceChecked(tables, index, log),
      onReadable: (isReadable) => {
        this.isLogAway = !isReadable;
      },
      onApplied: (txId) => {
        this.position.set(txId);
        this.services?.watches.advanced();
        if (this.phase === "replaying") this.report.replayed = txId - begin;
      },
    });
    distrusted.signal.throwIfAborted();
  }

  async #readyOnceChecked(tables: TableCheck, index: IndexStore, log: TxLog): Promise<void> {
    const isWhole = await tables.whole();
    try {
      if (isWhole && index === this.index) this.#becomeReady(index, log);
    } catch (error) {
      this.#distrust(index, error);
    }
  }

  #becomeReady(index: IndexStore, log: TxLog): void {
    // A checkpointer begun now would be one that nobody stops.
    if (this.phase === "stopping" || this.isDoubted) return;
    this.report.finish();
    this.report.readyAfterMs ??= Math.round(performance.now() - this.#startedAt);
    this.services = new ReadyServices({
      system: this.#system,
      log,
      index,
      stagingDir: this.#directory.staging,
      logger: this.#logger,
      observation: this.observation,
      suspect: (error) => this.suspect(index, error),
      doubts: this.#doubts,
      meet: this.#listener.meet,
    });
    this.phase = "ready";
    const { restoredFrom, replayed, readyAfterMs: ms } = this.report;
    const joined = { txId: index.state.txId, restoredFrom: restoredFrom?.name ?? null, replayed, ms };
    this.#logger.info(joined, "caught up with the log");
    this.#listener.ready();
  }

  /** Whatever else happens meanwhile, a node that stops is stopping. */
  #enter(phase: Phase): void {
    if (this.phase !== "stopping") this.phase = phase;
  }

  #use(index: IndexStore | undefined): void {
    this.index = index;
    this.position.set(index?.state.txId ?? 0);
  }

  async #leave(error: CairnError, reaction: FailureReaction, failures: number): Promise<void> {
    const failed =
      reaction.kind === "halt" || reaction.kind === "look" || (reaction.kind === "retry" && reaction.failed);
    // What was looked for is there, and changes nothing.
    const isKnown = reaction.kind === "look" && error.message === this.failure?.message;
    const level = isKnown ? "debug" : failed ? "error" : "warn";
    tellFailure(this.#logger, level, error, sayReaction(reaction, failures));
    this.observation.metrics.following.left(error.code);
    // First, since stopping an upload takes its time: nothing more is served as right.
    this.#during = "joining";
    this.failure = reaction.kind === "join" ? undefined : error;
    this.#enter(failed ? "failed" : "restoring");
    if (failed) this.report.finish();
    else this.report = new JoinReport();
    await this.#stopServices({ save: false });
    // A failed node keeps what it had open, for reads that ask for what is there.
    if (!failed) await this.#closeIndex();
  }

  async #stopServices(options: { readonly save: boolean }): Promise<void> {
    const services = this.services;
    this.services = undefined;
    await services?.stop(options);
  }

  async #closeIndex(): Promise<void> {
    const { index } = this;
    this.index = undefined;
    await index?.close();
  }
}
