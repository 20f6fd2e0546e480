import { setTimeout as delay } from "node:timers/promises";
import { type Checkpointer, startCheckpointer } from "@cairn/checkpoint";
import { type CairnError, isCairnError } from "@cairn/kv";
import type { Logger } from "pino";
import { asCairnError, type FailureReaction, reactionTo } from "./failure-policy.ts";
import { indexSource } from "./index-source.ts";
import { IndexPosition } from "./index-store/index-position.ts";
import type { IndexStore } from "./index-store/index-store.ts";
import type { IndexDirectory } from "./joining/index-directory.ts";
import { joinIndex } from "./joining/join-index.ts";
import { JoinReport } from "./joining/join-report.ts";
import { lastKnown, type LogIdentity, logOffset } from "./joining/log-identity.ts";
import type { Phase } from "./node-api.ts";
import { checkpointerWorks } from "./events/checkpointer-works.ts";
import type { NodeObservation } from "./node-observation.ts";
import type { System } from "./system/system.ts";
import { followLog } from "./tx-log/follow-log.ts";
import type { TxLog } from "./tx-log/tx-log.ts";
import { NodeUpkeep } from "./upkeep/node-upkeep.ts";

const FIRST_PAUSE_MS = 200;
const LONGEST_PAUSE_MS = 15_000;
/** An upload under way may end in it, else it is aborted: a node stops within 10 s. */
const CHECKPOINTER_STOP_MS = 5_000;

/** Who is told of a {@link NodeLife}. */
export interface LifeListener {
  ready(): void;
  /** The log is open, once and for all. */
  opened(log: TxLog): Promise<void>;
}

/**
 * The life of one node's index: open the log → join → replay → follow, and again from joining when the log or the index turn out
 * to be other than they were. It only ends when it is told to stop, or halts where going on could serve what is not the log's.
 */
export class NodeLife {
  readonly position = new IndexPosition();
  report = new JoinReport();
  phase: Phase = "restoring";
  log: TxLog | undefined;
  identity: LogIdentity | undefined;
  index: IndexStore | undefined;
  checkpointer: Checkpointer | undefined;
  upkeep: NodeUpkeep | undefined;
  failure: CairnError | undefined;
  readonly observation: NodeObservation;
  readonly #system: System;
  readonly #directory: IndexDirectory;
  readonly #logger: Logger;
  readonly #stop = new AbortController();
  readonly #startedAt = performance.now();
  readonly #listener: LifeListener;
  #running: Promise<void> = Promise.resolve();
  #during: "joining" | "following" = "joining";
  #distrusted = new AbortController();
  readonly #doubtful = new Set<string>();
  readonly #distrustedCheckpoints = new Set<string>();
  #replacement: string | undefined;

  constructor(
    system: System,
    directory: IndexDirectory,
    logger: Logger,
    observation: NodeObservation,
    listener: LifeListener,
  ) {
    this.observation = observation;
    this.#system = system;
    this.#directory = directory;
    this.#logger = logger;
    this.#listener = listener;
  }

  /** Whether the index was found to agree with the log, and nothing since has put that in doubt. */
  get agrees(): boolean {
    return this.#during === "following";
  }

  /** Begins; answers at once. */
  start(): void {
    this.#running = this.#run();
  }

  /** Ends the life in order: checkpointer, following, index, log. */
  async stop(): Promise<void> {
    this.phase = "stopping";
    await this.#stopCheckpointer({ save: true });
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
    if (matters && index === this.index) this.#distrusted.abort(error);
  }

  /**
   * Leaves an index that is not the log's; `live`, where given, holds the index that takes its place. False where it was left
   * already, or nothing takes its place.
   */
  replace(index: IndexStore, error: CairnError, live: string | undefined): boolean {
    if (index !== this.index || !this.agrees || this.#distrusted.signal.aborted) return false;
    this.#replacement = live;
    this.suspect(index, error);
    return live !== undefined;
  }

  /** A checkpoint whose index proved damaged twice is damaged itself; once, it may have been this node's disk. */
  #distrust(restored: { readonly name: string } | null): void {
    if (restored === null) return;
    if (this.#doubtful.has(restored.name)) this.#distrustedCheckpoints.add(restored.name);
    this.#doubtful.add(restored.name);
  }

  async #run(): Promise<void> {
    let failures = 0;
    let suspect: CairnError | undefined;
    while (!this.#stop.signal.aborted) {
      const before = this.position.txId;
      try {
        await this.#liveOnce(suspect);
        return;
      } catch (thrown) {
        if (this.#stop.signal.aborted) return;
        const error = asCairnError(thrown);
        const { restoredFrom } = this.report;
        const reaction = reactionTo(error, this.#during);
        await this.#leave(error, reaction);
        if (reaction.kind === "halt") return;
        failures = this.position.txId > before ? 1 : failures + 1;
        if (isCairnError(error, "INDEX_CORRUPT")) this.#distrust(restoredFrom);
        suspect = reaction.kind === "join" && reaction.suspectIndex ? error : undefined;
        if (reaction.kind === "retry" || failures > 1) await this.#pause(failures);
      }
    }
  }

  /** From an open log to following it; ends without an error only when the node stops. */
  async #liveOnce(suspect: CairnError | undefined): Promise<void> {
    const { signal } = this.#stop;
    this.#during = "joining";
    if (this.log === undefined) {
      this.log = await this.#system.openTxLog({ signal });
      await this.#listener.opened(this.log);
    }
    const replacement = this.#replacement;
    this.#replacement = undefined;
    const joined = await joinIndex({
      system: this.#system,
      log: this.log,
      directory: this.#directory,
      report: this.report,
      events: this.observation.events,
      signal,
      suspect,
      replacement,
      distrusted: this.#distrustedCheckpoints,
      onLocal: (index) => this.#use(index),
    });
    this.#use(joined.index);
    this.identity = joined.identity;
    this.failure = undefined;
    this.#during = "following";
    await this.#follow(joined.index, joined.identity, this.log);
  }

  async #follow(index: IndexStore, identity: LogIdentity, log: TxLog): Promise<void> {
    const { state } = index;
    const { following: figures } = this.observation.metrics;
    const distrusted = new AbortController();
    this.#distrusted = distrusted;
    // Ready means caught up with the log as it stood when the node joined.
    const goal = Math.max(identity.bounds.last + logOffset(identity, state), state.txId);
    const begin = state.txId;
    this.#enter("replaying");
    if (begin >= goal) this.#becomeReady(index, log);
    const following = followLog(log, {
      anchor: lastKnown(identity, state),
      // Two arrays of them are in memory at once, one being applied and one being fetched.
      maxMessages: 500,
      signal: AbortSignal.any([this.#stop.signal, distrusted.signal]),
      onReading: figures.reading,
      onState: ({ reachable, error }) => {
        if (reachable) this.#logger.info({ log: log.name }, "reading the log");
        else this.#logger.warn({ err: error }, "the log cannot be reached; trying again");
      },
    });
    for await (const messages of following) {
      const begunAt = performance.now();
      const counts = await index.apply(messages);
      figures.applied(counts, (performance.now() - begunAt) / 1_000);
      const { txId } = index.state;
      this.position.set(txId);
      if (this.phase !== "replaying") continue;
      this.report.replayed = txId - begin;
      this.report.advance("transactions", txId - begin, goal - begin);
      if (txId >= goal) this.#becomeReady(index, log);
    }
    distrusted.signal.throwIfAborted();
  }

  #becomeReady(index: IndexStore, log: TxLog): void {
    // A checkpointer begun now would be one that nobody stops.
    if (this.phase === "stopping") return;
    this.report.finish();
    this.report.readyAfterMs ??= Math.round(performance.now() - this.#startedAt);
    const { checkpointer: options, nodeId, kvProvider } = this.#system;
    if (options !== undefined) {
      const source = indexSource(nodeId, kvProvider, index, log, (error) => this.suspect(index, error));
      const onEvent = checkpointerWorks(this.observation.events, this.#logger);
      this.checkpointer = startCheckpointer({ source, options, onEvent });
    }
    this.upkeep = new NodeUpkeep({
      system: this.#system,
      log,
      logId: index.state.log.id,
      stagingDir: this.#directory.staging,
      logger: this.#logger,
      events: this.observation.events,
    });
    this.phase = "ready";
    this.#logger.info({ txId: index.state.txId, ...this.#joined() }, "caught up with the log");
    this.#listener.ready();
  }

  /** Whatever else happens meanwhile, a node that stops is stopping. */
  #enter(phase: Phase): void {
    if (this.phase !== "stopping") this.phase = phase;
  }

  #joined(): object {
    const { restoredFrom, replayed, readyAfterMs } = this.report;
    return { restoredFrom: restoredFrom?.name ?? null, replayed, ms: readyAfterMs };
  }

  #use(index: IndexStore | undefined): void {
    this.index = index;
    this.position.set(index?.state.txId ?? 0);
  }

  async #leave(error: CairnError, reaction: FailureReaction): Promise<void> {
    const failed = reaction.kind === "halt" || (reaction.kind === "retry" && reaction.failed);
    const level = failed ? "error" : "warn";
    this.#logger[level]({ code: error.code, hint: error.hint, err: error.cause }, error.message);
    this.observation.metrics.following.left(error.code);
    // First, since stopping an upload takes its time: nothing more is served as right.
    this.#during = "joining";
    this.failure = reaction.kind === "join" ? undefined : error;
    this.#enter(failed ? "failed" : "restoring");
    this.report = failed ? this.report : new JoinReport();
    await this.#stopCheckpointer({ save: false });
    // A failed node keeps what it had open, for reads that ask for what is there.
    if (!failed) await this.#closeIndex();
  }

  /** An index that is left because it is in doubt is not saved once more. */
  async #stopCheckpointer({ save }: { readonly save: boolean }): Promise<void> {
    const { checkpointer, upkeep } = this;
    this.checkpointer = undefined;
    this.upkeep = undefined;
    await Promise.all([checkpointer?.stop({ timeoutMs: CHECKPOINTER_STOP_MS, save }), upkeep?.stop()]);
  }

  async #closeIndex(): Promise<void> {
    const { index } = this;
    this.index = undefined;
    await index?.close();
  }

  async #pause(failures: number): Promise<void> {
    const pause = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(failures, 10));
    await delay(pause, undefined, { signal: this.#stop.signal }).catch((error: unknown) => {
      if (!this.#stop.signal.aborted) throw error;
    });
    await this.#closeIndex();
  }
}
