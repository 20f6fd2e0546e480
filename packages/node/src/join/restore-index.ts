import path from "node:path";
import {
  type CheckpointListing,
  type CheckpointStore,
  DAMAGE_CODES,
  listCheckpoints,
  type Manifest,
  restoreCheckpoint,
  type RestoreOptions,
} from "@cairn/checkpoint";
import type { TxId } from "@cairn/client";
import { CairnError } from "@cairn/kv";
import { acceptManifest, verifyRestored } from "../checkpoints/accept-checkpoint.ts";
import { restoreStores, isOwnStore } from "../system/checkpoint-stores.ts";
import type { WorkRun } from "../observe/node-events.ts";
import { IndexStore } from "../index/index-store.ts";
import { emptyState } from "../index/empty-state.ts";
import type { JoinContext } from "./join-context.ts";
import { openIndex } from "../index/local-index.ts";
import type { LogIdentity } from "../log/log-identity.ts";

/**
 * Restores the newest checkpoint of this log that agrees with it and opens it; undefined when there is none. Every checkpoint passed
 * over is in the report with its reason. `STORE_UNREACHABLE` when a store could not be asked: worth trying again, not emptiness.
 * `leaveLocal` moves a local index out of the way once there is another one to take its place. Of `beyond` it has to hold more than that.
 */
export async function restoreIndex(
  context: JoinContext,
  identity: LogIdentity,
  leaveLocal?: () => Promise<void>,
  beyond?: TxId,
): Promise<IndexStore | undefined> {
  const { checkpointer } = context.system;
  if (checkpointer === undefined) return undefined;
  return await context.events.observe("restore", async (run) => {
    const index = await restoreFromStores(
      context,
      identity,
      restoreStores(checkpointer),
      run,
      leaveLocal,
      beyond,
    );
    const { restoredFrom, skipped } = context.report;
    if (index === undefined || restoredFrom === null) run.ended({ outcome: "none", skipped });
    else run.ended({ outcome: "restored", ...restoredFrom, skipped });
    return index;
  });
}

async function restoreFromStores(
  context: JoinContext,
  identity: LogIdentity,
  stores: readonly CheckpointStore[],
  run: WorkRun<"restore">,
  leaveLocal: (() => Promise<void>) | undefined,
  beyond: TxId | undefined,
): Promise<IndexStore | undefined> {
  const { system, directory, report, log, signal } = context;
  const { kvProvider: provider } = system;
  // An index that lives in memory is loaded from the restored files, which then go; it must not touch live/.
  const direct = provider.persistent && leaveLocal === undefined;
  const targetDir = direct ? directory.live : path.join(directory.staging, "loading");
  const isOwn = isOwnStore(system);
  const damaged: string[] = [];
  const restoring: RestoreOptions = {
    stores,
    stagingDir: directory.staging,
    targetDir,
    node: system.nodeId,
    reserveIn: isOwn,
    // Where the log continues another one, a checkpoint of that one is as good: acceptManifest tells which.
    ...(identity.birth?.continues === undefined ? { logId: identity.id } : {}),
    accept: async (manifest) =>
      distrust(manifest, context.distrusted) ??
      tooOld(manifest, beyond) ??
      (await report.whileAsking([], () => acceptManifest(manifest, provider.format, log, identity))),
    verify: (dir, manifest) => report.whileAsking([], () => verifyRestored(provider, dir, manifest)),
    onProgress: ({ done, total }) => {
      run.moved(done);
      report.advance("bytes", done, total);
    },
    onSkipped: ({ name, error }, store) => {
      if (isOwn(store) && DAMAGE_CODES.has(error.code)) damaged.push(name);
    },
    signal,
  };
  const { restored, skipped } = await report.whileAsking(stores, () => restoreCheckpoint(restoring));
  report.skipped = skipped.map(({ name, store, error: { code, message } }) => ({
    name,
    store,
    code,
    message,
  }));
  report.damaged = damaged;
  report.finish();
  if (restored === undefined) return undefined;
  const { name, store, manifest } = restored;
  if (leaveLocal !== undefined) {
    await leaveLocal();
    await directory.place(targetDir);
  }
  const { kv } = await openIndex(provider, leaveLocal === undefined ? targetDir : directory.live);
  const { txId, takenAt, archive } = manifest;
  run.moved(archive.bytes);
  report.restoredFrom = { name, store, txId };
  report.restoredCheckpoint = { name, txId, takenAt, bytes: archive.bytes };
  return await IndexStore.open(kv, emptyState(identity));
}

function distrust({ archive }: Manifest, names: ReadonlySet<string> = new Set()): CairnError | undefined {
  if (![...names].some((name) => archive.name.startsWith(`${name}.`))) return undefined;
  return new CairnError("CHECKPOINT_CORRUPT", "The indexes restored from it proved damaged.", {
    hint: "An older checkpoint or the log itself is used instead.",
  });
}

function tooOld({ txId }: Manifest, beyond: TxId = -1): CairnError | undefined {
  if (txId > beyond) return undefined;
  return new CairnError("LOG_GAP", "It ends before the messages that the log lacks.", {
    hint: "A newer one is waited for.",
  });
}

/** The newest checkpoint of any log, in any of the stores a node restores from; undefined where one is of the log `logId` itself. */
export async function newestOfOthersOnly(
  { system: { checkpointer }, report, signal }: Pick<JoinContext, "system" | "report" | "signal">,
  logId: string,
): Promise<CheckpointListing | undefined> {
  const found: CheckpointListing[] = [];
  for (const store of restoreStores(checkpointer)) {
    const { checkpoints } = await report.whileAsking([store], () => listCheckpoints(store, signal));
    found.push(...checkpoints);
  }
  return found.some(({ log }) => log.id === logId) ? undefined : found[0];
}

/** The newest checkpoint of a log of this name (with another id than `exceptId`) in any of the stores a node restores from. */
export async function newestCheckpointOfName(
  { system: { checkpointer }, report, signal }: Pick<JoinContext, "system" | "report" | "signal">,
  logName: string,
  exceptId?: string,
): Promise<{ readonly name: string; readonly txId: number; readonly store: string } | undefined> {
  if (checkpointer === undefined) return undefined;
  for (const store of restoreStores(checkpointer)) {
    const { checkpoints } = await report.whileAsking([store], () => listCheckpoints(store, signal));
    const newest = checkpoints.find(({ log }) => log.name === logName && log.id !== exceptId);
    if (newest !== undefined) return { name: newest.name, txId: newest.txId, store: store.location };
  }
  return undefined;
}
