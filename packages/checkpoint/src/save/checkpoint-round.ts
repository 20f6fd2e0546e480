import { errorMessage, isCairnError } from "@cairn/kv";
import { sweepStore } from "../retain/sweep.ts";
import type { CheckpointSource } from "../store/checkpoint-source.ts";
import { describeHolder, type HeldLease } from "../store/lease-record.ts";
import {
  checkpointFiles,
  findNewest,
  NOTHING_FOUND,
  type StoredCheckpoint,
} from "../store/list-checkpoints.ts";
import { type Clock, systemClock } from "../timing/clock.ts";
import { type Archiving, archivingOnDisk } from "./capture.ts";
import type { CheckpointerEvent, RoundStep } from "./checkpointer-events.ts";
import type { CheckpointerOptions } from "./checkpointer-options.ts";
import { acquireLease, leaseDuration } from "./lease.ts";
import { saveCheckpoint, type SaveOptions } from "./save-checkpoint.ts";
import { decideRound, type RoundSituation, type SkipReason } from "./schedule.ts";
import { type LookMemory, lookMemory } from "./look-memory.ts";

export interface TakeOptions {
  readonly source: CheckpointSource;
  readonly options: SaveOptions["options"] & Pick<CheckpointerOptions, "refreshAfter" | "replayBudget">;
  /**
   * Whether to save even if the newest checkpoint is recent. Even then, nothing is saved if nothing has changed or
   * another node is uploading. Defaults to false.
   */
  readonly forced?: boolean;
  readonly signal?: AbortSignal;
  /** Like {@link SaveOptions.hurry}. */
  readonly hurry?: AbortSignal;
  readonly onStep?: (step: RoundStep, bytes: number) => void;
  readonly clock?: Clock;
  /** How long the lease is valid without being renewed (ms). Defaults to a time that suits `approxFrequency`. */
  readonly leaseMs?: number;
  /** Defaults to {@link archivingOnDisk}. */
  readonly archiving?: Archiving;
  /** The memory of earlier rounds. */
  readonly memory?: LookMemory;
  /**
   * Called if the store has no space left for a checkpoint of this log. Returns whether space may have been freed, in
   * which case the checkpoint is attempted once more. By default, it is not.
   */
  readonly makeRoom?: (logId: string) => Promise<boolean>;
}

interface Look {
  readonly newest: StoredCheckpoint | undefined;
  /** The time at which `newest` counts as taken, by the store's clock. With a memory, it is never after `storeNow`. */
  readonly takenAt: number | undefined;
  readonly storeNow: number;
  readonly storeAhead: number;
}

/** The result of a look that found that a checkpoint of this log is due. */
type Due = Look & { readonly logId: string };

/**
 * The result of a round. `newest` is this log's newest checkpoint as far as the round knows, `storeNow` is the store's
 * time at the look, and `storeAhead` is how far the store's clock is ahead of this machine's (ms).
 */
export type TakeOutcome = Look &
  (
    | { readonly outcome: "taken"; readonly checkpoint: StoredCheckpoint }
    | {
        readonly outcome: "skipped";
        readonly reason: SkipReason;
        readonly because: string;
        /** Present if another node's lease is the reason, unless the lease was acquired or released in the meantime. */
        readonly lease?: HeldLease;
      }
  );

/**
 * Runs one round: looks at the store and decides, takes the lease if a checkpoint is due, looks again, and captures,
 * uploads and publishes. After an error, nothing new is listed. Sweeping is a separate step, so that its failure cannot
 * affect the saved checkpoint.
 */
export async function takeCheckpoint(take: TakeOptions): Promise<TakeOutcome> {
  take.onStep?.("looking", 0);
  const before = await look(take);
  if ("outcome" in before) return before;
  try {
    return await takeDue(take, before);
  } catch (error) {
    if (!isCairnError(error, "STORE_FULL") || (await take.makeRoom?.(before.logId)) !== true) throw error;
  }
  return takeDue(take, before);
}

async function takeDue(take: TakeOptions, before: Due): Promise<TakeOutcome> {
  const { source, options, clock = systemClock, archiving = archivingOnDisk, signal, hurry } = take;
  const onStep = take.onStep ?? (() => undefined);
  signal?.throwIfAborted();
  let held: HeldLease | undefined;
  const lease = await acquireLease(options.store, {
    owner: source.node,
    logId: before.logId,
    ttlMs: take.leaseMs ?? leaseDuration(options.approxFrequency),
    clock,
    signal,
    onHeld({ owner, progress: { bytes }, since = null, expiresAt }) {
      held = { owner, bytes, since, expiresAt };
    },
  });
  if (lease === undefined) {
    return {
      ...before,
      outcome: "skipped",
      reason: "leased",
      because: describeHolder(held),
      ...(held === undefined ? {} : { lease: held }),
    };
  }
  try {
    // Another node may have saved a checkpoint after the first look and before this node acquired the lease.
    const now = await look(take);
    if ("outcome" in now) return now;
    const stop = signal === undefined ? lease.lost : AbortSignal.any([signal, lease.lost]);
    const checkpoint = await saveCheckpoint({
      source,
      options,
      archiving,
      clock,
      lease,
      signal: stop,
      hurry,
      onStep,
      onName: (name) => take.memory?.saving(name),
    });
    take.memory?.saved(checkpoint);
    const takenAt = Date.parse(checkpoint.manifest.takenAt);
    return { ...now, newest: checkpoint, takenAt, outcome: "taken", checkpoint };
  } finally {
    await lease.release();
  }
}

/** Looks at the store. Returns an outcome if there is a reason to save nothing. */
async function look(take: TakeOptions): Promise<Due | TakeOutcome> {
  const { source, options, forced = false, clock = systemClock } = take;
  const { store, approxFrequency, refreshAfter } = options;
  const position = await source.position();
  const listed = position === undefined ? [] : await checkpointFiles(store);
  const { newest, isNewerDamaged } =
    position === undefined ? NOTHING_FOUND : await findNewest(store, listed, source, position.logId);
  const storeNow = await store.now();
  const storeAhead = storeNow - clock.now();
  const takenAt =
    newest === undefined
      ? undefined
      : (take.memory?.takenAt(newest, storeNow) ?? Date.parse(newest.manifest.takenAt));
  await take.memory?.sawStore({ store, listed, newest, logId: position?.logId, storeNow });
  const decision = decideRound({
    approxFrequency,
    ...(refreshAfter === undefined ? {} : { refreshAfter }),
    forced,
    newest:
      newest === undefined || takenAt === undefined ? undefined : { txId: newest.manifest.txId, takenAt },
    isNewerDamaged,
    tail: await tailAfter(take, newest, position?.txId),
    txId: position?.txId,
    storeNow,
  });
  const seen = { newest, takenAt, storeNow, storeAhead };
  if (decision.save && position !== undefined) return { ...seen, logId: position.logId };
  const reason = decision.save ? "unchanged" : decision.reason;
  return { ...seen, outcome: "skipped", reason, because: decision.because };
}

/** Estimates the replay time after the newest checkpoint, if the decision may depend on a replay budget. */
async function tailAfter(
  { source, options: { replayBudget: budgetMs }, forced }: TakeOptions,
  newest: StoredCheckpoint | undefined,
  txId = 0,
): Promise<RoundSituation["tail"]> {
  if (budgetMs === undefined || forced === true || newest === undefined || txId <= newest.manifest.txId)
    return undefined;
  const replayMs = await source.replayTimeMs?.(newest.manifest);
  return replayMs === undefined ? undefined : { replayMs, budgetMs };
}

/** The dependencies that the rounds of a checkpointer share. */
export interface RoundParts {
  readonly source: CheckpointSource;
  readonly options: CheckpointerOptions;
  readonly clock: Clock;
  readonly onEvent: (event: CheckpointerEvent) => void;
  /** Called at each step; `bytes` is the number of bytes of the index packed so far. */
  readonly onStep: (step: RoundStep, bytes: number) => void;
  /** Defaults to {@link archivingOnDisk}. */
  readonly archiving: Archiving | undefined;
}

/** Runs rounds, one after the other, in one capture directory. */
export interface Rounds {
  /**
   * Takes a checkpoint or skips it, sweeps after taking one, and reports both as events. If the store is full, sweeps
   * first, and tries once more if that removed something. If the checkpoint fails, throws its error.
   */
  run(round: {
    readonly forced: boolean;
    readonly signal: AbortSignal;
    readonly hurry: AbortSignal;
  }): Promise<TakeOutcome>;
  /** Removes the capture directory if these rounds created it. A failure is reported as a warning, not thrown. */
  dropDirectory(): Promise<void>;
}

export function checkpointRounds(parts: RoundParts): Rounds {
  const { source, options, clock, onEvent, onStep, archiving = archivingOnDisk } = parts;
  const directory = archiving.directory(options.checkpointDir, options.captureOwner ?? source.node);
  const memory = lookMemory(source.node, clock, (warning) => onEvent({ type: "warning", ...warning }));

  async function dropDirectory(): Promise<void> {
    try {
      await directory.drop();
    } catch (error) {
      const path = options.checkpointDir;
      const message = `The capture directory ${path} could not be removed: ${errorMessage(error)}`;
      const hint =
        "Remove it by hand, or leave it to the node, which removes it later. It is empty and does no harm.";
      onEvent({ type: "warning", about: "capture-directory", message, hint });
    }
  }

  /**
   * Sweeps the store. Returns whether that may have freed space. A failure is reported but not thrown, because the
   * checkpoint has been saved, or another error keeps it from being saved.
   */
  async function sweep(logId: string): Promise<boolean> {
    const { store, retentionPolicy: policy } = options;
    const startedAt = clock.now();
    onStep("sweeping", 0);
    onEvent({ type: "sweep-begun" });
    try {
      const report = await sweepStore({ store, source, logId, ...(policy === undefined ? {} : { policy }) });
      onEvent({ type: "swept", ...report, durationMs: clock.now() - startedAt });
      return report.removed.some(({ reason }) => reason !== "expired");
    } catch (error) {
      onEvent({ type: "sweep-failed", error, durationMs: clock.now() - startedAt });
      return false;
    }
  }

  return {
    dropDirectory,
    async run(round) {
      const startedAt = clock.now();
      // The number of bytes packed so far. A failure is reported with it.
      let packed = 0;
      onEvent({ type: "begun", forced: round.forced });
      try {
        await directory.make();
        const outcome = await takeCheckpoint({
          source,
          options,
          clock,
          ...round,
          onStep: (step, bytes) => {
            packed = bytes;
            onStep(step, bytes);
          },
          archiving,
          memory,
          // The policy keeps what is needed even before the new checkpoint exists. If sweeps only followed saves, a
          // full store would stay full.
          makeRoom: sweep,
        });
        if (outcome.outcome === "skipped") {
          const { reason, because } = outcome;
          onEvent({ type: "skipped", reason, because, durationMs: clock.now() - startedAt });
        } else {
          onEvent({ type: "taken", checkpoint: outcome.checkpoint, durationMs: clock.now() - startedAt });
          await sweep(outcome.checkpoint.manifest.log.id);
        }
        return outcome;
      } catch (error) {
        onEvent({ type: "failed", error, durationMs: clock.now() - startedAt, bytes: packed });
        throw error;
      } finally {
        if (!options.keepDirBetweenCheckpoints) await dropDirectory();
      }
    },
  };
}
