import { systemClock, type CairnError, isCairnError } from "@cairn/kv";
import type { Logger } from "pino";
import type { Phase } from "@cairn/client";
import { notReady } from "../api/not-ready.ts";
import { type System, WAIT_FOR_STORE_MS } from "../api/system.ts";
import { CheckpointDoubts } from "../checkpoints/checkpoint-doubts.ts";
import { readUntil, restoreStores } from "../checkpoints/checkpoint-stores.ts";
import type { ComparePast } from "../checkpoints/compare-past.ts";
import { type LogHistory, logWithBackup } from "../backup/log-with-backup.ts";
import type { OnePast } from "../cluster/one-past.ts";
import type { ComparedNode } from "../cluster/self-check.ts";
import type { IndexDirectory } from "../db-dir/index-directory.ts";
import { IndexPosition } from "../index/index-position.ts";
import type { IndexStore } from "../index/index-store.ts";
import { Attachment } from "../join/attachment.ts";
import { joinIndex, type JoinedIndex } from "../join/join-index.ts";
import { withStoreFirst } from "../join/join-errors.ts";
import { JoinReport } from "../join/join-report.ts";
import { JoinSources } from "../join/join-sources.ts";
import { StoreWait } from "../join/store-wait.ts";
import type { LogIdentity } from "../log/log-identity.ts";
import type { TxLog } from "../log/tx-log.ts";
import { asCairnError, logFailure } from "../observe/failures.ts";
import {
  describeReaction,
  type FailureReaction,
  HALT,
  isGap,
  pausesFirst,
  reactionTo,
  retryDelayMs,
} from "./failure-policy.ts";
import { Following, type FollowingParts } from "./following.ts";
import { OwnIndexes } from "../own-indexes/own-indexes.ts";
import { ReadyServices, type ServiceParts } from "./ready-services.ts";
import type { NodeObservation } from "./node-observation.ts";
import { SentMessages } from "./same-history.ts";

export type NodeLife = Readonly<Life>;

export function nodeLife(parts: LifeParts): NodeLife {
  return new Life(parts);
}

interface LifeParts {
  readonly system: System;
  readonly directory: IndexDirectory;
  readonly logger: Logger;
  readonly observation: NodeObservation;
  readonly comparePast: ComparePast;
  readonly differing: OnePast["differing"];
  readonly otherLooks: ServiceParts["otherLooks"];
  readonly onOpened: (log: TxLog) => void;
  readonly propose: FollowingParts["propose"];
  readonly onReady: () => void;
  /** Called with a failure after which the node tries nothing again. */
  readonly onHalt: (failure: CairnError) => void;
  /** Ends the processes for queries that have files in a folder open. */
  readonly release: (dir: string) => Promise<void>;
}

/**
 * The life of a node's index, as a state machine.
 *
 *              log opened          index agrees             log applied, policies proposed,
 *                                  with the log             fields built, tables checked
 *    opening ─────────────▶ joining ─────────▶ ┌─ following ─────────────────────────────┐
 *       │                    ▲   │             │  replaying ─────────────────────▶ ready │
 *       │ error              │   │ error       └────────────────────┬────────────────────┘
 *       ▼                    │   ▼                                  │ error, doubt
 *    ┌─ leaving ─────────────┴──────────────────────────────────────▼────────────────────┐
 *    │  reactionTo (failure-policy.ts): join, retry after a pause, await a change, halt   │
 *    └────────────────────────────────────────────────────────────────────────────────────┘
 *
 * 1. The log is opened once, and only `stop` closes it.
 * 2. While the node follows its log, the index agrees with it. A doubt (`suspect`, `replace`, `halt`) ends this state
 *    immediately: no further data is served as correct, even though it takes time to leave the index. Doubts about an
 *    index other than the current one are ignored.
 * 3. Services run only in `ready`. They stop before the index is closed, and the index is closed before the log.
 * 4. A failed node keeps its index open for stale reads until it joins again, and `failure` contains the reason.
 * 5. Stopping is final: no other phase follows, and no service starts.
 * 6. No other class changes this state.
 */
class Life implements ComparedNode {
  readonly position = new IndexPosition();
  readonly sent = new SentMessages();
  readonly observation: NodeObservation;
  /** The log's name in the configuration; null if only the log itself knows its name. */
  readonly logName: string | null;
  log: TxLog | undefined;
  /** The log combined with its backups; undefined until the log has been opened. */
  history: LogHistory | undefined;
  identity: LogIdentity | undefined;
  index: IndexStore | undefined;
  report = new JoinReport();
  failure: CairnError | undefined;
  isDoubted = false;
  readonly attachment: Attachment;
  /** Undefined unless the index was found to agree with the log. */
  following: Following | undefined;
  readonly #parts: LifeParts;
  /** The system as a join uses it, which must not wait for a store once the node stops. */
  readonly #joining: System;
  readonly #startedAt = performance.now();
  readonly #stop = new AbortController();
  readonly #doubts = new CheckpointDoubts();
  readonly #storeWait: StoreWait;
  #running: Promise<void> = Promise.resolve();
  #isFailed = false;
  #isHalted = false;
  #nextTryAt: number | undefined;
  #isDraining = false;
  #isStopping = false;
  #halted: CairnError | undefined;
  /** The folder of a rebuilt index that replaces a wrong one. */
  #replacement: string | undefined;

  constructor(parts: LifeParts) {
    this.#parts = parts;
    this.#joining = readUntil(parts.system, this.#stop.signal);
    this.observation = parts.observation;
    this.logName = parts.system.logName ?? null;
    this.#storeWait = new StoreWait(parts.system.waitForStoreMs ?? WAIT_FOR_STORE_MS);
    this.attachment = new Attachment({
      isOn: parts.system.attach ?? true,
      logger: parts.logger,
      signal: this.#stop.signal,
      onIndex: (index) => this.#use(index),
      onEnded: (counts) => parts.observation.metrics.onAttachmentEnded(counts),
    });
  }

  get phase(): Phase {
    if (this.#isStopping) return "stopping";
    if (this.#isFailed) return "failed";
    if (!this.agrees) return "restoring";
    return this.services === undefined ? "replaying" : "ready";
  }

  /** The phase for the status and health checks: a draining node counts as stopping although it still serves. */
  get reportedPhase(): Phase {
    return this.#isDraining && this.phase === "ready" ? "stopping" : this.phase;
  }

  get agrees(): boolean {
    return this.following !== undefined && !this.isDoubted;
  }

  get services(): ReadyServices | undefined {
    return this.following?.services;
  }

  get ownIndexes(): OwnIndexes | undefined {
    return this.following?.ownIndexes;
  }

  /**
   * Returns whether the node will try again by itself after its {@link failure} and, if known, when (ms since 1970).
   */
  get recovery(): { readonly retries: boolean; readonly nextTryAt: number | undefined } {
    return { retries: !this.#isHalted, nextTryAt: this.#nextTryAt };
  }

  start(): void {
    this.#running = this.#run();
  }

  drain(): void {
    this.#isDraining = true;
  }

  /** Stops serving and ends all watches. Callers may still wait for {@link position}. */
  beginStop(reason: CairnError): void {
    this.#isStopping = true;
    this.services?.watches.end({ reason: "stopping", message: reason.message });
  }

  /** Ends the node's life. Stops the services, then stops reading the log, and finally closes the index and the log. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    await this.following?.stopServices({ save: true });
    this.#stop.abort();
    await this.#running;
    this.attachment.end();
    await this.attachment.ended();
    await this.#closeIndex();
    await this.log?.close();
  }

  /**
   * Reports an error in the use of `index`. LevelDB detects damage only on reading it, so the node rebuilds the index
   * as soon as any read meets it. A submission may be the first to detect that the log has a different history.
   */
  suspect(index: IndexStore, error: unknown): unknown {
    if (index.isReadOnly)
      return this.attachment.failed(index, error) ? notReady(this, { cause: error }) : error;
    const matters = isCairnError(error, "INDEX_CORRUPT", "LOG_REGRESSED");
    if (matters) this.#distrust(index, error);
    return error;
  }

  /** `live` is the replacement's folder, if any. False if there is none, or if the index was left or doubted before. */
  replace(index: IndexStore, error: CairnError, live: string | undefined): boolean {
    if (index !== this.index || !this.agrees) return false;
    this.#replacement = live;
    this.suspect(index, error);
    return live !== undefined;
  }

  /** Permanently stops serving an index, because it is impossible to decide whether the index is right. */
  halt(index: IndexStore, error: CairnError): void {
    if (index !== this.index || !this.agrees) return;
    this.#halted = error;
    this.#distrust(index, error);
  }

  #distrust(index: IndexStore, error: unknown): void {
    if (index !== this.index) return;
    this.isDoubted = true;
    this.following?.doubt(error);
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    const system = this.#joining;
    let failures = 0;
    let last: CairnError | undefined;
    let suspect: CairnError | undefined;
    let sources: JoinSources | undefined;
    while (!signal.aborted) {
      const before = this.position.txId;
      try {
        if (this.log === undefined) {
          this.log = await system.openTxLog({ signal });
          this.#parts.onOpened(this.log);
        }
        this.history ??= logWithBackup(this.log, restoreStores(system));
        await this.#follow(this.log, this.history, await this.#join(this.history, suspect, isGap(last)));
        return;
      } catch (thrown) {
        if (signal.aborted) return;
        const error = withStoreFirst(asCairnError(thrown), system, this.log);
        const { restoredFrom } = this.report;
        const reaction = this.#reactionTo(error);
        failures = this.position.txId > before ? 1 : failures + 1;
        last = error;
        await this.#leave(error, reaction, failures);
        if (reaction.kind === "halt") return;
        if (reaction.kind === "await-change" && this.log !== undefined && this.history !== undefined) {
          sources ??= new JoinSources(this.log, this.history);
          await sources.changed(reaction.stores ? restoreStores(system) : [], signal);
          await this.#closeIndex();
          continue;
        }
        if (error.code === "INDEX_CORRUPT") this.#doubts.damaged(restoredFrom);
        suspect = reaction.kind === "join" && reaction.suspectIndex ? error : undefined;
        if (!pausesFirst(reaction.kind, failures)) continue;
        const pauseMs = Math.min(retryDelayMs(failures), this.#storeWait.leftMs);
        this.#nextTryAt = systemClock.now() + pauseMs;
        await systemClock.wait(pauseMs, signal);
        this.#nextTryAt = undefined;
        await this.#closeIndex();
      }
    }
  }

  #reactionTo(error: CairnError): FailureReaction {
    if (error === this.#halted) return HALT;
    // An embedded log is not opened while an operator may be putting its folder back: a partly restored one could be
    // altered.
    if (error.code === "LOG_DIFFERENT" && this.following === undefined && this.log?.hasOneWriter === true)
      return HALT;
    if (this.following !== undefined) return reactionTo(error, "following");
    if (this.log === undefined) return reactionTo(error, "opening");
    return reactionTo(error, this.identity === undefined ? "joining" : "rejoining");
  }

  async #join(log: LogHistory, suspect: CairnError | undefined, beforeGap: boolean): Promise<JoinedIndex> {
    const replacement = this.#replacement;
    this.#replacement = undefined;
    const joined = await joinIndex({
      ...this.#parts,
      system: this.#joining,
      log,
      report: this.report,
      events: this.observation.events,
      signal: this.#stop.signal,
      suspect,
      followed: this.identity?.id,
      beforeGap,
      replacement,
      storeWait: this.#storeWait,
      distrusted: this.#doubts.distrusted,
      differing: this.#parts.differing,
      attachment: this.attachment,
      onLocal: (index) => this.#use(index),
    });
    this.#storeWait.end();
    // Reads that are running go on in the checkpoint; all others are of the restored index.
    this.attachment.end();
    this.#use(joined.index);
    this.identity = joined.identity;
    // They must not keep an intact one from being saved.
    for (const name of this.report.damaged) this.#doubts.judged(name, false);
    return joined;
  }

  async #follow(log: TxLog, history: LogHistory, joined: JoinedIndex): Promise<void> {
    const { index } = joined;
    this.failure = undefined;
    this.#isFailed = false;
    this.isDoubted = false;
    const parts = { ...this.#parts, ...joined, history };
    const suspect = (error: unknown): void => void this.suspect(index, error);
    const isCurrent = (): boolean => index === this.index && this.agrees && !this.#isStopping;
    this.following = new Following({
      ...parts,
      figures: this.observation.metrics.following,
      report: this.report,
      sent: this.sent,
      distrust: (error) => this.#distrust(index, error),
      onApplied: (txId) => this.position.set(txId),
      startOwnIndexes: () => {
        if (!isCurrent()) return undefined;
        const { system, directory, ...rest } = this.#parts;
        const { ownIndexes: indexes = [], kvProvider: provider } = system;
        return new OwnIndexes({ ...rest, indexes, dir: directory.layout.own, index, provider, suspect });
      },
      startServices: () => {
        if (!isCurrent()) return undefined;
        const { ownIndexes } = this;
        return new ReadyServices({ ...parts, log, doubts: this.#doubts, suspect, ownIndexes });
      },
      onReady: () => this.#becomeReady(index),
    });
    await this.following.run(this.#stop.signal);
  }

  #becomeReady({ state }: IndexStore): void {
    const report = this.report;
    report.finish();
    report.readyAfterMs ??= Math.round(performance.now() - this.#startedAt);
    const { restoredFrom, replayed, readyAfterMs: ms } = report;
    const joined = { txId: state.txId, restoredFrom: restoredFrom?.name ?? null, replayed, ms };
    this.#parts.logger.info(joined, "the node has caught up with the log");
    this.#parts.onReady();
  }

  async #leave(error: CairnError, reaction: FailureReaction, failures: number): Promise<void> {
    const { kind } = reaction;
    const isFailed = kind === "halt" || kind === "await-change" || (kind === "retry" && reaction.failed);
    // The awaited change has occurred, but the problem is the same as before.
    const isKnown = kind === "await-change" && error.message === this.failure?.message;
    const level = isKnown ? "debug" : isFailed ? "error" : "warn";
    logFailure(this.#parts.logger, level, error, describeReaction(reaction, failures));
    this.observation.metrics.following.left(error.code);
    // This must happen before anything is awaited. It takes time to stop an upload, and no data may be served as
    // correct in the meantime.
    const following = this.following;
    this.following = undefined;
    this.failure = kind === "join" ? undefined : error;
    this.#isFailed = isFailed;
    this.#isHalted = kind === "halt";
    if (isFailed) this.report.finish();
    else this.report = this.report.next();
    this.attachment.end();
    await following?.stopServices({ save: false });
    if (!isFailed) await this.#closeIndex();
    if (this.#isHalted) this.#parts.onHalt(error);
  }

  #use(index: IndexStore | undefined): void {
    this.index = index;
    this.position.set(index?.state.txId ?? 0);
  }

  async #closeIndex(): Promise<void> {
    const index = this.index;
    this.index = undefined;
    await index?.close();
  }
}
