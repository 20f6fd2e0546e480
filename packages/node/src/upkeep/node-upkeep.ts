import { type CheckpointStore, type Clock, systemClock } from "@cairn/checkpoint";
import { CairnError, errorMessage } from "@cairn/kv";
import type { Logger } from "pino";
import { restoreStores } from "../checkpoints/checkpoint-stores.ts";
import { errorFields } from "../observe/failures.ts";
import type { EventDispatcher } from "../observe/event-dispatcher.ts";
import type { System } from "../api/system.ts";
import type { TxLog } from "../log/tx-log.ts";
import { trimLog } from "./plan-trim.ts";
import { jittered, type RepeatedWork, repeatWork } from "../concurrency/repeated-work.ts";
import { type LastVerified, startRestoreDrill, type VerifierParts, verifyForNode } from "./restore-drill.ts";

/** What the upkeep of one node works with; clock and randomness are the machine's when left out. */
export interface UpkeepParts {
  readonly system: System;
  readonly log: TxLog;
  readonly logId: string;
  /** Where checkpoints are unpacked to be verified. */
  readonly stagingDir: string;
  readonly logger: Logger;
  readonly events: EventDispatcher;
  readonly onJudged?: VerifierParts["onJudged"];
  readonly clock?: Clock;
  readonly random?: () => number;
}

const SOONEST_TRIM_MS = 1_000;
const LATEST_TRIM_MS = 3_600_000;
/** Of what is kept by age, so that a log is never much longer than it has to be. */
const TRIMS_A_KEEP = 20;

/** What a ready node does beside following the log and saving checkpoints: the restore drill and the trimming of the log. */
export class NodeUpkeep {
  /** The newest verification of this log's checkpoints as of the last drill, whoever did it. */
  lastVerified: LastVerified | null = null;
  readonly #parts: UpkeepParts;
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #works = new Set<RepeatedWork>();

  constructor(parts: UpkeepParts) {
    this.#parts = parts;
    this.#clock = parts.clock ?? systemClock;
    this.#random = parts.random ?? Math.random;
    this.#startDrill();
    this.#startTrimming();
  }

  /** Verifies a checkpoint now: the one of that name, or the log's newest. */
  async verify(store: CheckpointStore, name: string | undefined): Promise<LastVerified> {
    const stop = new AbortController();
    const verifying = verifyForNode(this.#verifier(store), name, stop.signal);
    const work: RepeatedWork = {
      async stop() {
        stop.abort(new CairnError("NOT_READY", "The node stopped before the checkpoint was verified."));
        await Promise.allSettled([verifying]);
      },
    };
    this.#works.add(work);
    try {
      this.lastVerified = await verifying;
      return this.lastVerified;
    } finally {
      this.#works.delete(work);
    }
  }

  /** Aborts what runs and waits for its end; afterwards nothing reads the log or writes to the staging directory. */
  async stop(): Promise<void> {
    await Promise.all([...this.#works].map((work) => work.stop()));
  }

  #startDrill(): void {
    const { checkpointer } = this.#parts.system;
    if (checkpointer?.verifyEvery === undefined) return;
    const drill = startRestoreDrill({
      ...this.#verifier(checkpointer.store),
      every: checkpointer.verifyEvery,
      clock: this.#clock,
      random: this.#random,
      onVerified: (last) => {
        this.lastVerified = last;
      },
      onError: (error) => this.#tell("looking for a checkpoint to verify failed", error),
    });
    this.#works.add(drill);
  }

  #verifier(store: CheckpointStore): VerifierParts {
    const { system, log, logId, stagingDir, events, onJudged } = this.#parts;
    const { kvProvider: provider, nodeId: node } = system;
    const told = onJudged === undefined ? {} : { onJudged };
    return { store, log, logId, provider, stagingDir, node, events, ...told };
  }

  #startTrimming(): void {
    const { system, log, events } = this.#parts;
    const { trim, checkpointer, kvProvider } = system;
    if (trim === undefined) return;
    const stores = restoreStores(checkpointer);
    const pause = (): number => {
      const usual = Math.min(LATEST_TRIM_MS, Math.max(SOONEST_TRIM_MS, trim.keep / TRIMS_A_KEEP));
      return jittered(usual, this.#random);
    };
    const work = async (): Promise<number> => {
      await events.observe("trim", async (run) => {
        const plan = await trimLog({ log, stores, kvFormat: kvProvider.format, keep: trim.keep });
        const { first, upTo, because } = plan;
        run.ended({ outcome: upTo > first ? "trimmed" : "kept", first, upTo, because });
      });
      return pause();
    };
    const times = { firstDelay: pause(), retryDelay: pause };
    this.#works.add(
      repeatWork(this.#clock, times, work, (error) => this.#tell("trimming the log failed", error)),
    );
  }

  /** What failed as a work of the node was told as its event. */
  #tell(what: string, error: unknown): void {
    if (this.#parts.events.hasReported(error)) return;
    this.#parts.logger.error(errorFields(error), `${what}: ${errorMessage(error)}`);
  }
}
