import path from "node:path";
import { isDeepStrictEqual } from "node:util";
import { type CheckpointSource, takeCheckpoint, type TakeOptions, type TakeOutcome } from "@cairn/checkpoint";
import { CairnError, closing, systemClock } from "@cairn/kv";
import type { System } from "../api/system.ts";
import type { CandidateCheckpoint } from "../checkpoints/candidates.ts";
import { indexSource } from "../checkpoints/index-source.ts";
import { verifyCheckpoint } from "../checkpoints/verify-checkpoint.ts";
import { IndexStore } from "../index/index-store.ts";
import { fileReader, openIndex } from "../index/local-index.ts";
import type { TxLog } from "../log/tx-log.ts";
import type { PastIndex } from "./past-index.ts";
import type { PastPlan } from "./past-plan.ts";

/** The pause before a lease is looked at again. */
const POLL_INTERVAL_MS = 1_000;

interface Seam {
  readonly plan: PastPlan;
  readonly past: PastIndex;
  readonly system: System;
  readonly node: string;
  readonly log: TxLog;
  /** A folder for the copies, which are removed. */
  readonly dir: string;
  readonly signal: AbortSignal;
  readonly onWaiting: (because: string) => void;
}

/**
 * Makes sure that the node's own store has a checkpoint of exactly this index, which can be read back: nodes join over
 * the seam of two logs with it alone. Returns undefined if the node saves no checkpoints.
 */
export async function saveSeam(seam: Seam): Promise<Pick<CandidateCheckpoint, "name" | "store"> | undefined> {
  const { plan, past, system, node, log, dir, signal } = seam;
  const { checkpointer, kvProvider } = system;
  const { txId, state } = past;
  if (checkpointer === undefined) return undefined;
  const { store } = checkpointer;
  const { checkpoint } = plan;
  // It was restored and read when the index was built.
  if (checkpoint?.txId === txId && checkpoint.store === store.location) return checkpoint;
  const provider = fileReader(kvProvider);
  const { kv } = await openIndex(provider, past.live);
  const name = await closing(await IndexStore.open(kv, state), async (index) => {
    const purge = async (): Promise<void> => {
      await index.purgeEvictions({ withinMs: Infinity, signal });
    };
    const source: CheckpointSource = {
      ...indexSource({ node, provider, log, index, purge }),
      // Later checkpoints belong to what the new log leaves behind.
      agrees: ({ anchor }) =>
        Promise.resolve(anchor.txId < txId || isDeepStrictEqual(anchor, { txId, sha256: state.sha256 })),
    };
    const options = { ...checkpointer, checkpointDir: path.join(dir, "capture") };
    const saved = await takeInTurn({ source, options, forced: true, signal }, seam.onWaiting);
    return saved.outcome === "taken" ? saved.checkpoint.name : saved.newest?.name;
  });
  if (name === undefined) throw new CairnError("INTERNAL", `No checkpoint was saved at transaction ${txId}.`);
  const staging = { stagingDir: path.join(dir, "read-back"), node, signal };
  const { digest } = await verifyCheckpoint({ store, name, provider, ...staging });
  if (digest === past.digest) return { name, store: store.location };
  throw new CairnError(
    "CHECKPOINT_CORRUPT",
    `${name} was read back with a different digest than the index from which it was saved.`,
    "No log was begun. Run the command again; if it fails again, replace the store: it does not preserve the data written to it.",
  );
}

/** Waits while a node saves a checkpoint. `onWaiting` is called once. */
async function takeInTurn(
  options: TakeOptions & { readonly signal: AbortSignal },
  onWaiting: Seam["onWaiting"],
): Promise<TakeOutcome> {
  const { signal } = options;
  for (let tries = 0; ; tries++) {
    const saved = await takeCheckpoint(options);
    if (saved.outcome !== "skipped" || saved.reason !== "leased") return saved;
    if (tries === 0) onWaiting(saved.because);
    await systemClock.wait(POLL_INTERVAL_MS, signal);
    signal.throwIfAborted();
  }
}
