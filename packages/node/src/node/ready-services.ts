import { type Checkpointer, startCheckpointer } from "@cairn/checkpoint";
import type { Logger } from "pino";
import { checkpointerListener } from "../checkpoints/checkpointer-listener.ts";
import { indexSource } from "../checkpoints/index-source.ts";
import type { IndexStore } from "../index/index-store.ts";
import type { CheckpointDoubts } from "../checkpoints/checkpoint-doubts.ts";
import { type ComparePast, hasSamePast } from "../checkpoints/compare-past.ts";
import type { NodeObservation } from "./node-observation.ts";
import type { System } from "../api/system.ts";
import { logFailure } from "../observe/failures.ts";
import type { TxLog } from "../log/tx-log.ts";
import { EvictionUpkeep } from "../upkeep/eviction-upkeep.ts";
import { startScrub } from "../upkeep/scrub-index.ts";
import type { RepeatedWork } from "../concurrency/repeated-work.ts";
import { NodeUpkeep } from "../upkeep/node-upkeep.ts";
import { type FeedEnd, WatchFeed } from "../watch/watch-feed.ts";
import { indexChanges } from "../watch/watch-source.ts";

/** What the services of a ready node work with. */
export interface ServiceParts {
  readonly system: System;
  readonly log: TxLog;
  readonly index: IndexStore;
  readonly stagingDir: string;
  readonly logger: Logger;
  readonly observation: NodeObservation;
  /** Told why the index could not be captured, or that it is damaged. */
  readonly suspect: (error: unknown) => void;
  readonly doubts: CheckpointDoubts;
  readonly comparePast: ComparePast;
}

/** An upload under way may end in it, else it is aborted: a node stops within 10 s. */
const CHECKPOINTER_STOP_MS = 5_000;

const LEFT: FeedEnd = {
  reason: "not-ready",
  message:
    "The node leaves its index. Open the watch again from here, at another node or when this one is ready.",
};

/** What runs beside the index of a ready node, from then until it leaves that index. */
export class ReadyServices {
  readonly checkpointer: Checkpointer | undefined;
  readonly upkeep: NodeUpkeep;
  readonly watches: WatchFeed;
  readonly #purge: EvictionUpkeep;
  readonly #scrub: RepeatedWork | undefined;

  constructor({
    system,
    log,
    index,
    stagingDir,
    logger,
    observation,
    suspect,
    doubts,
    comparePast,
  }: ServiceParts) {
    const { checkpointer: options, nodeId, kvProvider } = system;
    const { events } = observation;
    this.#purge = new EvictionUpkeep({ index, logger, suspect });
    if (options !== undefined) {
      const isDamaged = (name: string): boolean => doubts.isDamaged(name);
      const purge = (): Promise<void> => this.#purge.beforeCapture();
      const whole = indexSource(nodeId, kvProvider, index, log, purge, suspect);
      const agrees = hasSamePast(whole.agrees, options.store, doubts, comparePast);
      const source = { ...whole, agrees, isDamaged };
      const onEvent = checkpointerListener(events, logger);
      this.checkpointer = startCheckpointer({ source, options, onEvent });
    }
    this.watches = new WatchFeed(indexChanges(index, suspect), {
      ...observation.metrics.watches,
      failed: (error) => logFailure(logger, "error", error, "All watches end here."),
    });
    const onJudged = (name: string, whole: boolean): void => doubts.judged(name, whole);
    const { id: logId } = index.state.log;
    this.upkeep = new NodeUpkeep({ system, log, logId, stagingDir, logger, events, onJudged });
    this.#scrub = startScrub({ index, every: system.scrubEvery, events, logger, suspect });
  }

  /** Waits until nothing reads the index, the log or the staging directory. An index in doubt is not saved once more. */
  async stop({ save }: { readonly save: boolean }): Promise<void> {
    this.watches.end(LEFT);
    await Promise.all([
      // First: the last capture does not wait for it.
      this.#purge.stop(),
      this.checkpointer?.stop({ timeoutMs: CHECKPOINTER_STOP_MS, save }),
      this.upkeep.stop(),
      this.#scrub?.stop(),
    ]);
  }
}
