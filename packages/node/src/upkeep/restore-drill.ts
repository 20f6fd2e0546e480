import {
  type CheckpointStore,
  type Clock,
  firstLookDelay,
  listCheckpoints,
  nextLookDelay,
  readVerification,
} from "@cairn/checkpoint";
import { CairnError, type KvProvider } from "@cairn/kv";
import type { NodeEvents } from "../events/node-events.ts";
import { INDEX_VERSION } from "../index-store/index-state.ts";
import type { VerifiedSummary } from "../node-api.ts";
import { type RepeatedWork, repeatWork } from "./repeated-work.ts";
import { verifyCheckpoint } from "./verify-checkpoint.ts";

/** The newest verification of a log's checkpoints. */
export type LastVerified = VerifiedSummary;

/** Which checkpoints a node verifies, and with what. */
export interface VerifierParts {
  readonly store: CheckpointStore;
  readonly logId: string;
  readonly provider: KvProvider;
  readonly stagingDir: string;
  readonly node: string;
  readonly events: NodeEvents;
}

/** What a restore drill works with. */
export interface DrillOptions extends VerifierParts {
  readonly every: number;
  readonly clock: Clock;
  readonly random: () => number;
  readonly onVerified: (last: LastVerified, byThisNode: boolean) => void;
  readonly onError: (error: unknown) => void;
}

const SOON_PART = 0.1;

/**
 * Verifies the log's newest checkpoint about once a period, whichever node does it: looks at the store at a random instant, and
 * acts only when no mark is younger than the period.
 */
export function startRestoreDrill(options: DrillOptions): RepeatedWork {
  const { every, clock, random } = options;
  const times = {
    firstDelay: firstLookDelay(every, random()),
    retryDelay: () => every * (0.9 + 0.2 * random()),
  };
  return repeatWork(clock, times, (signal) => drill(options, signal), options.onError);
}

/** Verifies and marks the checkpoint `name`, or the log's newest. Errors as in {@link verifyCheckpoint}. */
export async function verifyForNode(
  parts: VerifierParts,
  name: string | undefined,
  signal: AbortSignal,
): Promise<LastVerified> {
  const { store, provider, stagingDir, node, events } = parts;
  const chosen = name ?? (await look(parts)).newest;
  if (chosen === undefined) {
    throw new CairnError("CHECKPOINT_NOT_FOUND", `There is no checkpoint of this log in ${store.location}.`, {
      hint: "cairn checkpoint create saves one.",
    });
  }
  return await events.observe("verification", async (run) => {
    const onProgress = ({ done }: { readonly done: number }): void => run.moved(done);
    const which = { store, name: chosen, provider, stagingDir, node, signal };
    const { manifest, digest, verification } = await verifyCheckpoint({ ...which, onProgress });
    const { verifiedAt } = verification;
    const verified = { name: chosen, txId: manifest.txId, verifiedAt, node, digest };
    run.ended({ outcome: "verified", verified });
    return verified;
  });
}

async function drill(options: DrillOptions, signal: AbortSignal): Promise<number> {
  const { store, every } = options;
  const { newest, last } = await look(options);
  const storeNow = await store.now();
  const isDue = last === undefined || Date.parse(last.verifiedAt) + every * 0.9 <= storeNow;
  if (last !== undefined) options.onVerified(last, false);
  // Soon: the first checkpoint of a log is about to be saved.
  if (newest === undefined) return every * SOON_PART;
  if (!isDue) return nextDelay(options, last, storeNow);
  const mine = await verifyForNode(options, newest, signal);
  options.onVerified(mine, true);
  return nextDelay(options, mine, Date.parse(mine.verifiedAt));
}

/** The log's newest checkpoint that this node could restore, and the newest mark of any. */
async function look({ store, logId, provider }: VerifierParts): Promise<{
  newest: string | undefined;
  last: LastVerified | undefined;
}> {
  const { checkpoints } = await listCheckpoints(store);
  const own = checkpoints.filter(
    ({ log, format }) => log.id === logId && format.index === INDEX_VERSION && format.kv === provider.format,
  );
  let last: LastVerified | undefined;
  for (const { name, txId, verified, archive } of own) {
    const mark = verified ? await readVerification(store, name, archive) : undefined;
    if (mark === undefined || (last !== undefined && last.verifiedAt >= mark.verifiedAt)) continue;
    last = { name, txId, verifiedAt: mark.verifiedAt, node: mark.node, digest: mark.digest };
  }
  return { newest: own[0]?.name, last };
}

function nextDelay(
  { every, random }: DrillOptions,
  last: LastVerified | undefined,
  storeNow: number,
): number {
  return nextLookDelay({
    approxFrequency: every,
    newestTakenAt: last === undefined ? undefined : Date.parse(last.verifiedAt),
    storeNow,
    random: random(),
  });
}
