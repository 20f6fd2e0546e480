import { errorMessage } from "@cairn/kv";
import { archivingOnDisk } from "./archiving.ts";
import type { Archiving } from "./archiving.ts";
import type { CheckpointSource } from "../store/checkpoint-source.ts";
import type { CheckpointerEvent } from "./checkpointer-events.ts";
import type { CheckpointerOptions } from "./checkpointer-options.ts";
import type { Clock } from "../timing/clock.ts";
import { sweepStore } from "../retain/sweep.ts";
import { storeWitness } from "./store-witness.ts";
import { LEASE_MS, takeCheckpoint } from "./take-checkpoint.ts";
import type { RoundStep, TakeOptions, TakeOutcome } from "./take-checkpoint.ts";

/** What rounds work with. */
export interface RoundParts {
  readonly source: CheckpointSource;
  readonly options: CheckpointerOptions;
  readonly clock: Clock;
  readonly onEvent: (event: CheckpointerEvent) => void;
  /** `bytes` of the index are packed so far. */
  readonly onStep: (step: RoundStep, bytes: number) => void;
  /** How long a lease holds without being renewed (ms). */
  readonly leaseMs?: number;
  /** On disk when left out. */
  readonly archiving?: Archiving;
}

/** Runs rounds, one after the other, over one capture directory. */
export interface Rounds {
  /** A whole round: takes a checkpoint or not, sweeps after it, tells both. Throws what made it fail. */
  run(
    round: Pick<TakeOptions, "forced" | "signal" | "hurry"> & { readonly forced: boolean },
  ): Promise<TakeOutcome>;
  /** Removes the capture directory if it was made here; that it cannot is told, not thrown. */
  dropDirectory(): Promise<void>;
}

/** Makes the rounds of one checkpointer. */
export function checkpointRounds(parts: RoundParts): Rounds {
  const { source, options, clock, onEvent, onStep, leaseMs, archiving = archivingOnDisk } = parts;
  const directory = archiving.directory(options.checkpointDir, options.captureOwner ?? source.node);

  const witness = storeWitness({
    node: source.node,
    clock,
    // An earlier life may have had another frequency, and with it a longer lease than this one.
    leaseMs: Math.max(LEASE_MS, leaseMs ?? 0),
    onWarning: (warning) => onEvent({ type: "warning", ...warning }),
  });

  async function dropDirectory(): Promise<void> {
    try {
      await directory.drop();
    } catch (error) {
      const path = options.checkpointDir;
      const message = `The capture directory ${path} could not be removed: ${errorMessage(error)}`;
      const hint = "It is empty and does no harm; let the node remove it, or remove it by hand.";
      onEvent({ type: "warning", about: "capture-directory", message, hint });
    }
  }

  /** Its failure is told, not thrown: the checkpoint is saved all the same. */
  async function sweep(logId: string): Promise<void> {
    const { store, retentionPolicy: policy } = options;
    const begunAt = clock.now();
    onStep("sweeping", 0);
    onEvent({ type: "sweep-begun" });
    try {
      const report = await sweepStore({ store, source, logId, ...(policy === undefined ? {} : { policy }) });
      onEvent({ type: "swept", ...report, durationMs: clock.now() - begunAt });
    } catch (error) {
      onEvent({ type: "sweep-failed", error, durationMs: clock.now() - begunAt });
    }
  }

  return {
    dropDirectory,
    async run({ forced, ...signals }) {
      const begunAt = clock.now();
      // Kept for `failed`, which tells how far the round came.
      let packed = 0;
      onEvent({ type: "begun", forced });
      try {
        await directory.make();
        const outcome = await takeCheckpoint({
          source,
          options,
          forced,
          clock,
          ...signals,
          onStep: (step, bytes) => {
            packed = bytes;
            onStep(step, bytes);
          },
          archiving,
          witness,
          ...(leaseMs === undefined ? {} : { leaseMs }),
        });
        if (outcome.outcome === "skipped") {
          const { reason, because } = outcome;
          onEvent({ type: "skipped", reason, because, durationMs: clock.now() - begunAt });
        } else {
          onEvent({ type: "taken", checkpoint: outcome.checkpoint, durationMs: clock.now() - begunAt });
          await sweep(outcome.checkpoint.manifest.log.id);
        }
        return outcome;
      } catch (error) {
        onEvent({ type: "failed", error, durationMs: clock.now() - begunAt, bytes: packed });
        throw error;
      } finally {
        if (!options.keepDirBetweenCheckpoints) await dropDirectory();
      }
    },
  };
}
