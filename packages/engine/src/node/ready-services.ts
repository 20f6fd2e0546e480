import {
  type Checkpointer,
  type CheckpointerEvent,
  type CheckpointSource,
  listCheckpoints,
  startCheckpointer,
} from "@cairn/checkpoint";
import type { System } from "../api/system.ts";
import type { CheckpointDoubts } from "../checkpoints/checkpoint-doubts.ts";
import { LogBackup } from "../backup/write/log-backup.ts";
import { EarlierLogs } from "../backup/earlier-logs.ts";
import type { LogHistory } from "../backup/log-with-backup.ts";
import type { EarlierEnd } from "../backup/write/expire-segments.ts";
import { SegmentReads } from "../backup/write/segment-reads.ts";
import { checkContent } from "../checkpoints/check-content.ts";
import { checkpointSummary } from "../checkpoints/checkpoint-summary.ts";
import type { EventDispatcher, WorkRun } from "../observe/event-dispatcher.ts";
import { type ComparePast, hasSamePast } from "../checkpoints/compare-past.ts";
import { indexSource } from "../checkpoints/index-source.ts";
import { isCairnError, type RepeatedWork, unlessFailed, withTimeout } from "@cairn/kv";
import { logOffset } from "../index/rows/index-state.ts";
import type { IndexDirectory } from "../db-dir/index-directory.ts";
import type { JoinedIndex } from "../join/join-index.ts";
import type { TxLog } from "../log/tx-log.ts";
import type { Logger } from "pino";
import { logFailure } from "../observe/failures.ts";
import { startEvictionUpkeep } from "../upkeep/eviction-upkeep.ts";
import { NodeUpkeep } from "../upkeep/node-upkeep.ts";
import { usableCheckpoint } from "../upkeep/trim-floor.ts";
import { startScrub } from "../upkeep/scrub-index.ts";
import { type FeedEnd, WatchFeed } from "../watch/watch-feed.ts";
import { indexChanges } from "../watch/watch-source.ts";
import type { OwnIndexes } from "../own-indexes/own-indexes.ts";
import type { NodeObservation } from "./node-observation.ts";
import { acceptManifest } from "../checkpoints/accept-checkpoint.ts";
import { restoreStores } from "../checkpoints/checkpoint-stores.ts";
import { readLogIdentity } from "../log/log-identity.ts";
import { beginningOf } from "../replay/fold-log.ts";

export interface ServiceParts extends JoinedIndex {
  readonly system: System;
  readonly directory: IndexDirectory;
  readonly logger: Logger;
  readonly observation: NodeObservation;
  readonly log: TxLog;
  readonly history: LogHistory;
  readonly doubts: CheckpointDoubts;
  readonly comparePast: ComparePast;
  readonly otherLooks: NonNullable<CheckpointSource["otherLooks"]>;
  readonly suspect: (error: unknown) => void;
  readonly ownIndexes: OwnIndexes | undefined;
}

/** The time within which uploads in progress may end before they are aborted. A node must stop within 10 s. */
const CHECKPOINTER_STOP_MS = 5_000;
/** How long other work with stores may take to end once it was aborted: a store may never respond. */
const STORE_WORK_STOP_MS = 5_000;

const LEFT: FeedEnd = {
  reason: "not-ready",
  message:
    "The node is closing its index. Reopen the watch after this transaction, at another node or when this one is ready.",
};

export class ReadyServices {
  readonly checkpointer: Checkpointer | undefined;
  readonly upkeep: NodeUpkeep;
  readonly watches: WatchFeed;
  readonly logBackup: LogBackup | undefined;
  readonly #purge: ReturnType<typeof startEvictionUpkeep>;
  readonly #scrub: RepeatedWork | undefined;

  constructor(parts: ServiceParts) {
    const { system, directory, log, index, logger, observation, suspect, doubts, ownIndexes } = parts;
    const { events } = observation;
    this.#purge = startEvictionUpkeep(index, logger, suspect);
    this.checkpointer = startCheckpointing(parts, () => this.#purge.beforeCapture());
    this.watches = new WatchFeed(indexChanges(index, log, suspect), {
      ...observation.metrics.watches,
      failed: (error) => logFailure(logger, "error", error, "All watches end here."),
    });
    const onJudged = (name: string, whole: boolean): void => {
      doubts.judged(name, whole);
      if (!whole) this.checkpointer?.lookNow();
    };
    const checkOwn = async (signal: AbortSignal): Promise<void> => {
      const check = index.read((rows) => checkContent(rows, signal));
      await check.catch(async (error: unknown) => await suspectUnlessOnly(parts, error));
    };
    const { id: logId } = index.state.log;
    const reads = new SegmentReads();
    const backup = startLogBackup(parts, reads);
    this.logBackup = backup;
    const readBackup = backup === undefined ? undefined : (signal: AbortSignal) => backup.readAll(signal);
    const drill = { stagingDir: directory.layout.staging, onJudged, checkOwn, readBackup, ownIndexes };
    this.upkeep = new NodeUpkeep({ system, log, logId, logger, events, reads, ...drill });
    this.#scrub = startScrub({ index, every: system.scrubEvery, events, suspect });
  }

  /**
   * Stops the services and waits until none reads the index, the log or the staging folder, except those waiting for a
   * silent store, which are aborted and end once it responds. If `save` is true, a last checkpoint is saved.
   */
  async stop({ save }: { readonly save: boolean }): Promise<void> {
    this.watches.end(LEFT);
    await Promise.all([
      this.watches.idle(),
      // The purge is told to stop before the checkpointer, so that the last capture does not wait for it.
      this.#purge.stop(),
      this.checkpointer?.stop({ timeoutMs: CHECKPOINTER_STOP_MS, save }),
      withTimeout(Promise.all([this.upkeep.stop(), this.logBackup?.stop()]), STORE_WORK_STOP_MS),
      this.#scrub?.stop(),
    ]);
  }
}

function startCheckpointing(parts: ServiceParts, purge: () => Promise<void>): Checkpointer | undefined {
  const { system, log, index, logger, observation, doubts, comparePast, ownIndexes } = parts;
  const { checkpointer: options, nodeId, kvProvider } = system;
  if (options === undefined) return undefined;
  const onError = (error: unknown): void => void suspectUnlessOnly(parts, error);
  const of = { node: nodeId, provider: kvProvider, index, log, purge, ownIndexes, onError };
  const ofIndex = indexSource(of);
  const source = {
    ...ofIndex,
    agrees: hasSamePast(ofIndex.agrees, options.store, doubts, comparePast),
    isDamaged: (name: string): boolean => doubts.isDamaged(name),
    // A folder that is not declared as shared may be this node's alone.
    ...(options.store.shared === true && { otherLooks: parts.otherLooks }),
  };
  return startCheckpointer({ source, options, onEvent: checkpointerListener(observation.events, logger) });
}

/**
 * Returns a listener that reports a checkpointer's events as tasks of the node and logs the checkpointer's warnings.
 */
function checkpointerListener(events: EventDispatcher, logger: Logger): (event: CheckpointerEvent) => void {
  let round: WorkRun<"checkpoint"> | undefined;
  let sweep: WorkRun<"sweep"> | undefined;
  return (event) => {
    switch (event.type) {
      case "begun":
        round = events.begin("checkpoint");
        break;
      case "taken": {
        const { name, manifest } = event.checkpoint;
        round?.moved(manifest.archive.bytes);
        round?.ended({ outcome: "saved", checkpoint: checkpointSummary({ ...manifest, name }) });
        break;
      }
      case "skipped":
        round?.ended({ outcome: event.reason, because: event.because });
        break;
      case "failed":
        round?.moved(event.bytes);
        round?.failed(event.error);
        break;
      case "sweep-begun":
        sweep = events.begin("sweep");
        break;
      case "swept": {
        const { removed, failed } = event;
        sweep?.moved(removed.reduce((sum, { bytes }) => sum + bytes, 0));
        const left = failed.map(({ name, error: { code, message } }) => ({ name, code, message }));
        sweep?.ended({ outcome: "swept", removed, failed: left });
        break;
      }
      case "sweep-failed":
        sweep?.failed(event.error);
        break;
      case "warning":
        logger.warn({ about: event.about, hint: event.hint }, event.message);
        break;
    }
  };
}

function startLogBackup(
  { system, log, history, identity, index, logger, observation }: ServiceParts,
  reads: SegmentReads,
): LogBackup | undefined {
  const { logBackup: options, checkpointer, nodeId, kvProvider } = system;
  if (options === undefined || checkpointer === undefined) return undefined;
  const { store } = checkpointer;
  // The earlier logs that a log continues never change, so they are read once.
  let earlier: readonly EarlierEnd[] | undefined;
  const backup = new LogBackup({
    store,
    log,
    of: { id: identity.id, name: identity.name, offset: logOffset(identity, index.state) },
    node: nodeId,
    checksumAt: (txId) => index.checksumAt(txId),
    options,
    reads,
    verifiedUpTo: async () => {
      const searched = { log: history, stores: [store], kvFormat: kvProvider.format };
      const found = await usableCheckpoint("oldest", searched, identity);
      return "position" in found ? found.checkpoint.txId : undefined;
    },
    earlier: async () => (earlier ??= await new EarlierLogs([store]).endsBefore(identity)),
    birth: identity.birth,
    onFinding: (error) => logFailure(logger, "warn", error, "The log backup continues."),
    events: observation.events,
  });
  backup.start();
  return backup;
}

/**
 * Reports an error in capturing or checking an index, unless the index is damaged and the node knows of nothing from which
 * it could build the index anew: what it has open may be the only copy.
 */
async function suspectUnlessOnly(parts: ServiceParts, error: unknown): Promise<void> {
  const { logger, suspect } = parts;
  // What cannot be reached now may not be there.
  if (isCairnError(error, "INDEX_CORRUPT") && !(await unlessFailed(canBeBuilt(parts), "any", false))) {
    logger.error(
      { code: error.code },
      `The node keeps its open index, because it knows of nothing from which it could build the index anew: ${error.message}`,
    );
    return;
  }
  suspect(error);
}

async function canBeBuilt({ system, log, history, identity: { id } }: ServiceParts): Promise<boolean> {
  const identity = await readLogIdentity(log, id);
  if (identity === undefined) return false;
  if ((await beginningOf(history, identity)) !== undefined) return true;
  for (const store of restoreStores(system)) {
    for (const one of (await listCheckpoints(store)).checkpoints)
      if (!one.damaged && (await acceptManifest(one, system.kvProvider.format, history, identity)) === true)
        return true;
  }
  return false;
}
