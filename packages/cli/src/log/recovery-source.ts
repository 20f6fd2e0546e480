import {
  type CheckpointStore,
  findCandidates,
  parseCheckpointName,
  type SkippedCheckpoint,
} from "@cairn/checkpoint";
import {
  checkpointAlone,
  findLostLog,
  indexAlone,
  lastStored,
  logsIn,
  type PastPlan,
  requireStore,
  restoreStores,
  type Unusable,
} from "@cairn/engine";
import { CairnError } from "@cairn/kv";
import type { TxId } from "@cairn/client";
import type { CommandRun } from "../options/command.ts";
import { folderPath, noCheckpoint, openPlace, theLog } from "../places/checkpoint-place.ts";
import { noStore } from "../places/configured-system.ts";
import { copyIndex, copyNodeIndex, indexFolder, type IndexCopy } from "../places/copied-index.ts";
import type { StoreKeyOptions } from "../places/store-keys.ts";
import { furthestPlan, type PlanRequest, type RecoveryPlace } from "./recovery-plan.ts";

/** What a log is continued from: the stores that are read, and the plan, again without what turned out to be damaged. */
export interface RecoverySource {
  readonly stores: readonly CheckpointStore[];
  /** These, and those of the configured node. */
  readonly known: readonly CheckpointStore[];
  /** The index of the configured node, whether or not the log is continued from it. */
  readonly own: IndexCopy;
  readonly plan: (found: Unusable) => Promise<PastPlan>;
}

type Run = CommandRun<StoreKeyOptions>;

/**
 * Without `from`, everything that the configured node can reach: its stores and its own index. A checkpoint or an index
 * means exactly that one, and the folder or bucket of a store means everything in it.
 */
export async function recoverySource(
  run: Run,
  place: RecoveryPlace,
  from: string | undefined,
  request: Omit<PlanRequest, "found">,
): Promise<RecoverySource> {
  const { system } = place;
  const configured = restoreStores(system);
  const own = place.system.checkpointer === undefined ? {} : await copyNodeIndex(run, place.system);
  const sourceOf = (stores: readonly CheckpointStore[], plan: RecoverySource["plan"]): RecoverySource => {
    const all = [...new Set([...stores, ...configured])];
    const known = async (logId: string): Promise<TxId> => await lastStored(all, logId, request.signal);
    return {
      stores,
      known: all,
      own,
      plan: async (found) => {
        const planned = await plan(found);
        return { ...planned, known: Math.max(planned.known, await known(planned.logId)) };
      },
    };
  };
  if (from === undefined) {
    // The new log begins with a checkpoint.
    if (configured.length === 0) requireStore(system);
    const plan: RecoverySource["plan"] = async (found) =>
      await furthestPlan(place, configured, own.copy, { ...request, found });
    return { stores: configured, known: configured, own, plan };
  }
  if (parseCheckpointName(from) !== undefined) {
    if (configured.length === 0) throw noStore("Give the path of the checkpoint with --from.");
    return sourceOf(configured, exactly(configured, from));
  }
  const folder = from.startsWith("s3:") ? undefined : await indexFolder(folderPath(from, run.terminal));
  if (folder !== undefined) {
    requireStore(system);
    const copy = await copyIndex(run, place.system, folder);
    if (copy === undefined)
      throw new CairnError("NOT_FOUND", `The index in ${folder} is empty.`, NAME_ANOTHER);
    return sourceOf(configured, () => Promise.resolve(indexAlone(copy)));
  }
  const { store, name } = await openPlace(run, from);
  const stores = [store];
  if (name !== undefined) return sourceOf(stores, exactly(stores, name));
  const lost = await findLostLog(stores, { name: place.log.name, kvFormat: system.kvProvider.format });
  const logId = request.logId ?? lost?.id ?? (await theLog({ store }, await logsIn(store), undefined));
  if (logId === undefined)
    throw new CairnError(
      "CHECKPOINT_NOT_FOUND",
      `${store.location} has neither a checkpoint nor a log backup.`,
      NAME_ANOTHER,
    );
  return sourceOf(
    stores,
    async (found) => await furthestPlan(place, stores, undefined, { ...request, logId, found }),
  );
}

/** Plans to continue from the checkpoint of this name in one of the stores. */
function exactly(stores: readonly CheckpointStore[], name: string): RecoverySource["plan"] {
  return async ({ checkpoints }) => {
    const error = checkpoints.get(name);
    if (error !== undefined) throw error;
    const skipped: SkippedCheckpoint[] = [];
    for await (const { manifest, store } of findCandidates(stores, {
      name,
      onSkipped: (one) => void skipped.push(one),
    }))
      return checkpointAlone({ ...manifest, name, store: store.location });
    throw noCheckpoint(stores, name, skipped);
  };
}

const NAME_ANOTHER = "Name another index, checkpoint or store with --from.";
