import type { CheckpointStore } from "@cairn/checkpoint";
import {
  systemClock,
  systemRandom,
  CairnError,
  errorMessage,
  cleanupPause,
  jittered,
  type RepeatedWork,
  repeatWork,
  unlessFailed,
} from "@cairn/kv";
import type { Logger } from "pino";
import type { VerifiedSummary } from "@cairn/client";
import type { SegmentReads } from "../backup/write/segment-reads.ts";
import { restoreStores } from "../checkpoints/checkpoint-stores.ts";
import { errorFields } from "../observe/failures.ts";
import type { System } from "../api/system.ts";
import type { TxLog } from "../log/tx-log.ts";
import { isTooYoungToTrim, trimLog } from "./plan-trim.ts";
import { recordingStore } from "./trim-record.ts";
import { startRestoreDrill, type VerifierParts, verifyForNode } from "./restore-drill.ts";

interface UpkeepParts extends Pick<
  VerifierParts,
  "logId" | "stagingDir" | "events" | "onJudged" | "checkOwn" | "ownIndexes"
> {
  readonly system: System;
  readonly log: TxLog;
  readonly logger: Logger;
  readonly reads: SegmentReads;
  /** Reads the segments of the log's backup that this node has not read yet; undefined if the node keeps no backup. */
  readonly readBackup?: ((signal: AbortSignal) => Promise<void>) | undefined;
}

export class NodeUpkeep {
  /** The newest verification of a checkpoint of this log, by any node as of the last drill, or by this one. */
  lastVerified: VerifiedSummary | null = null;
  readonly #parts: UpkeepParts;
  readonly #works = new Set<RepeatedWork>();

  constructor(parts: UpkeepParts) {
    this.#parts = parts;
    this.#startDrill();
    this.#startTrimming();
  }

  /** Immediately verifies the named checkpoint or, without a name, the log's newest one. */
  async verify(store: CheckpointStore, name: string | undefined): Promise<VerifiedSummary> {
    const stop = new AbortController();
    const verifying = verifyForNode(this.#verifier(store), name, stop.signal);
    const work: RepeatedWork = {
      async stop() {
        stop.abort(new CairnError("NOT_READY", "The node stopped before the checkpoint was verified."));
        await Promise.allSettled([verifying]);
      },
    };
    this.#works.add(work);
    this.lastVerified = await verifying.finally(() => this.#works.delete(work));
    return this.lastVerified;
  }

  /** Afterwards, no task reads the log or writes to the staging folder. */
  async stop(): Promise<void> {
    await Promise.all([...this.#works].map((work) => work.stop()));
  }

  #startDrill(): void {
    const { checkpointer } = this.#parts.system;
    if (checkpointer?.verifyEvery === undefined) return;
    const drill = startRestoreDrill({
      ...this.#verifier(checkpointer.store),
      every: checkpointer.verifyEvery,
      clock: systemClock,
      random: systemRandom,
      afterwards: this.#parts.readBackup,
      onVerified: (last) => {
        this.lastVerified = last;
      },
      onError: (error) => this.#logError("the search for a checkpoint to verify failed", error),
    });
    this.#works.add(drill);
  }

  #verifier(store: CheckpointStore): VerifierParts {
    const { system, log, logId, stagingDir, events, onJudged, checkOwn, ownIndexes } = this.#parts;
    const { kvProvider: provider, nodeId: node } = system;
    return { store, log, logId, provider, stagingDir, node, events, onJudged, checkOwn, ownIndexes };
  }

  #startTrimming(): void {
    const { system, log, events, reads } = this.#parts;
    const { trim, kvProvider } = system;
    if (trim === undefined) return;
    const stores = restoreStores(system);
    const { keep } = trim;
    const recordIn = recordingStore(system);
    const pause = (): number => jittered(cleanupPause(keep), systemRandom);
    const work = async (signal: AbortSignal): Promise<number> => {
      if (await unlessFailed(isTooYoungToTrim(log, keep, cleanupPause(keep) / 2), "any", false))
        return pause();
      await events.observe("trim", async (run) => {
        const options = { log, stores, kvFormat: kvProvider.format, keep, reads, recordIn, signal };
        const { first, upTo, because } = await trimLog(options);
        run.ended({ outcome: upTo > first ? "trimmed" : "kept", first, upTo, because });
      });
      return pause();
    };
    const times = { firstDelay: pause(), retryDelay: pause };
    this.#works.add(
      repeatWork(systemClock, times, work, (error) => this.#logError("trimming the log failed", error)),
    );
  }

  #logError(what: string, error: unknown): void {
    if (this.#parts.events.hasReported(error)) return;
    this.#parts.logger.error(errorFields(error), `${what}: ${errorMessage(error)}`);
  }
}
