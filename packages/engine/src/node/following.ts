import type { Logger } from "pino";
import { followHistory, type LogHistory } from "../backup/log-with-backup.ts";
import { type CairnError, resolvable, startTimer } from "@cairn/kv";
import type { AppliedCounts, IndexStore } from "../index/index-store.ts";
import { buildNewFields, keepFieldsBuilt } from "../index/keep-fields-built.ts";
import { logOffset } from "../index/rows/index-state.ts";
import type { JoinedIndex } from "../join/join-index.ts";
import type { JoinReport } from "../join/join-report.ts";
import type { NodeMetrics } from "./node-observation.ts";
import { logFailure } from "../observe/failures.ts";
import type { OwnIndexes } from "../own-indexes/own-indexes.ts";
import type { ReadyServices } from "./ready-services.ts";
import type { SentMessages } from "./same-history.ts";

export interface FollowingParts extends JoinedIndex {
  /** The log combined with its backups. The index agrees with it. */
  readonly history: LogHistory;
  readonly logger: Logger;
  readonly figures: NodeMetrics["following"];
  readonly report: JoinReport;
  readonly sent: SentMessages;
  readonly distrust: (error: unknown) => void;
  readonly onApplied: (txId: number) => void;
  /** Proposes the policies of the configuration. Returns once `index` contains the outcome, or the log takes too long. */
  readonly propose: (index: IndexStore, signal: AbortSignal) => Promise<void>;
  readonly startOwnIndexes: () => OwnIndexes | undefined;
  readonly startServices: () => ReadyServices | undefined;
  /** Called when policies were proposed, fields built, the tables checked, and the services started. */
  readonly onReady: () => void;
}

/**
 * Applies the log to an index. The node first replays the log; then it is ready and runs services. "Ready" means that
 * the index has caught up with the end that the log had when the node joined.
 *
 * Fields are built only after the index has caught up. Before that, their rows would change repeatedly, and it costs
 * less to build them from the final documents. The node is ready only once the fields that the replayed log, or its own
 * proposal, defined have been built.
 */
export class Following {
  readonly #parts: FollowingParts;
  readonly #doubt = new AbortController();
  services: ReadyServices | undefined;
  ownIndexes: OwnIndexes | undefined;
  #isReplaying = true;
  #awaitsCheck = false;
  /** Whether the log is not being read: it is unreachable, or not yet compared with the index since it was. */
  isLogAway = false;
  /** Why the last attempt to read the log failed; undefined once a reading has worked. */
  logProblem: CairnError | undefined;

  constructor(parts: FollowingParts) {
    this.#parts = parts;
  }

  doubt(error: unknown): void {
    this.#parts.sent.interrupted();
    this.#doubt.abort(error);
  }

  /** Returns once `signal` is aborted. Throws what made the log or the index fail, or the error of {@link doubt}. */
  async run(signal: AbortSignal): Promise<void> {
    const ended = new AbortController();
    const caughtUp = resolvable();
    const following = AbortSignal.any([signal, this.#doubt.signal]);
    const building = this.#buildFields(AbortSignal.any([following, ended.signal]), caughtUp.promise).catch(
      (error: unknown) => this.doubt(error),
    );
    try {
      await this.#apply(following, caughtUp.resolve);
      this.#doubt.signal.throwIfAborted();
    } finally {
      // The caller may close the index only after the build has ended.
      ended.abort();
      caughtUp.resolve();
      await building;
    }
  }

  async #apply(signal: AbortSignal, onCaughtUp: () => void): Promise<void> {
    const { index, identity, history, logger, figures, report, sent, onApplied } = this.#parts;
    const begin = index.state.txId;
    const goal = Math.max(identity.bounds.last + logOffset(identity, index.state), begin);
    if (begin >= goal) onCaughtUp();
    const noticeRefusals = refusalNotices(logger);
    const following = followHistory(history, identity, index.state, {
      // Two arrays are in memory at a time: one is being applied, and the other is being fetched. Their size is a
      // multiple of OUTCOMES_IN_ROW, so that nearly all outcomes of a replay share rows.
      maxMessages: 512,
      signal,
      onReading: () => {
        figures.reading();
        this.isLogAway = false;
      },
      onAnchored: () => sent.anchored(),
      onInterrupted: () => {
        sent.interrupted();
        this.isLogAway = true;
      },
      onState: ({ reachable, error }) => {
        this.logProblem = error;
        if (reachable) logger.info({ log: history.name }, "reading the log");
        else if (error !== undefined) logFailure(logger, "warn", error, "The node will try again.");
      },
    });
    const stopPreparing = history.onStoring?.((messages) => index.prepare(messages));
    try {
      for await (const messages of following) {
        const begunAt = performance.now();
        const { txId: before, log } = index.state;
        // A reading that began without an anchor may bring another log, which the birth record shows.
        if (log.id === identity.id && before > log.offset) sent.read(messages);
        const counts = await index.apply(messages);
        figures.applied(counts, (performance.now() - begunAt) / 1_000);
        noticeRefusals(counts);
        const { txId } = index.state;
        onApplied(txId);
        this.services?.logBackup?.applied(counts);
        this.services?.watches.advanced();
        if (this.#isReplaying) report.replayed = txId - begin;
        if (before < goal) report.advance("transactions", Math.min(txId, goal) - begin, goal - begin);
        if (txId >= goal) onCaughtUp();
      }
    } finally {
      sent.interrupted();
      stopPreparing?.();
    }
  }

  async #buildFields(signal: AbortSignal, caughtUp: Promise<void>): Promise<void> {
    const { index, logger, report, distrust, propose } = this.#parts;
    // Until the tables have been checked, damage from an earlier run could hide a row, and the node would report the
    // row as nonexistent.
    const checking = index.rows.checked?.((done, total) => {
      // Before the node waits for the check, /status shows the progress of the replay.
      if (this.#awaitsCheck) report.advance("bytes", done, total);
    });
    const checked = (checking ?? Promise.resolve()).catch(distrust);
    await caughtUp;
    if (signal.aborted) return;
    await propose(index, signal);
    if (signal.aborted) return;
    let isLogged = false;
    await buildNewFields(index, signal, (done, total) => {
      if (!isLogged) logger.info({ documents: total }, "building the indexed fields that the log defines");
      isLogged = true;
      report.advance("documents", done, total);
    });
    if (signal.aborted) return;
    void this.#serveOnce(checked);
    await keepFieldsBuilt(index, signal);
  }

  async #serveOnce(checked: Promise<void>): Promise<void> {
    const { startOwnIndexes, startServices, onReady, distrust } = this.#parts;
    this.#awaitsCheck = true;
    await checked;
    try {
      this.ownIndexes = startOwnIndexes();
      await this.ownIndexes?.settled();
      this.services = startServices();
      if (this.services === undefined) return;
      this.#isReplaying = false;
      onReady();
    } catch (error) {
      distrust(error);
    }
  }

  /** Stops the services. If `save` is true, a last checkpoint is saved. An index in doubt must not be saved. */
  async stopServices(options: { readonly save: boolean }): Promise<void> {
    const { services, ownIndexes } = this;
    this.services = undefined;
    this.ownIndexes = undefined;
    // The last checkpoint contains own indexes, but one that hangs must not keep the node from stopping.
    const cancel = startTimer(OWN_INDEX_STOP_MS, () => void ownIndexes?.stop());
    await services?.stop(options);
    cancel();
    await ownIndexes?.stop();
  }
}

/** How long a stopping node waits for a checkpoint before it ends own indexes (ms). It must stop within 10 s. */
const OWN_INDEX_STOP_MS = 4_000;
const MIN_INTERVAL_MS = 60_000;

/** Logs how many messages were damaged or not written by a node for this log: at once, then at most once a minute. */
function refusalNotices(logger: Logger): (counts: AppliedCounts) => void {
  let messages = 0;
  let loggedAt = Number.NEGATIVE_INFINITY;
  return ({ refused: { count, last } }) => {
    if (last === undefined) return;
    messages += count;
    if (performance.now() - loggedAt < MIN_INTERVAL_MS) return;
    loggedAt = performance.now();
    const { txId, reason } = last;
    logger.warn({ messages, txId, reason, hint: HINT }, "The log contains messages that change nothing.");
    messages = 0;
  };
}

const HINT =
  "Check which other clients are permitted to publish to the log, and whether other streams capture the same subject, because only nodes of this log should write to it. For each message, GET /api/v1/tx/ID returns the reason.";
