import path from "node:path";
import { isDeepStrictEqual } from "node:util";
import {
  type CheckpointStore,
  type IndexState,
  isSamePlace,
  listCheckpoints,
  type Manifest,
  restoreCheckpoint,
  type RestoreOptions,
} from "@cairn/checkpoint";
import { CairnError, type KvProvider } from "@cairn/kv";
import { restoreStores } from "../node-checkpoints.ts";
import { capturedState, fileReader } from "../index-source.ts";
import type { WorkRun } from "../events/node-events.ts";
import { INDEX_VERSION } from "../index-store/index-state.ts";
import { IndexStore } from "../index-store/index-store.ts";
import type { System } from "../system/system.ts";
import { checkAnchor } from "../tx-log/anchor.ts";
import { continuesAt } from "../tx-log/birth-record.ts";
import type { TxLog } from "../tx-log/tx-log.ts";
import { DAMAGE } from "./checkpoint-doubts.ts";
import { emptyState } from "./empty-state.ts";
import type { JoinContext } from "./join-index.ts";
import { openIndex } from "./local-index.ts";
import type { LogIdentity } from "./log-identity.ts";

/**
 * Restores the newest checkpoint of this log that agrees with it and opens it; undefined when there is none. Every checkpoint passed
 * over is in the report with its reason. `STORE_UNREACHABLE` when a store could not be asked: worth trying again, not emptiness.
 * `leaveLocal` moves a local index out of the way once there is another one to take its place.
 */
export async function restoreIndex(
  context: JoinContext,
  identity: LogIdentity,
  leaveLocal?: () => Promise<void>,
): Promise<IndexStore | undefined> {
  const { checkpointer } = context.system;
  if (checkpointer === undefined) return undefined;
  return await context.events.observe("restore", async (run) => {
    const index = await restoreFromStores(context, identity, restoreStores(checkpointer), run, leaveLocal);
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
      (await report.whileAsking([], () => acceptManifest(manifest, provider.format, log, identity))),
    verify: (dir, manifest) => report.whileAsking([], () => verifyRestored(provider, dir, manifest)),
    onProgress: ({ done, total }) => {
      run.moved(done);
      report.advance("bytes", done, total);
    },
    onSkipped: ({ name, error }, store) => {
      if (isOwn(store) && DAMAGE.has(error.code)) damaged.push(name);
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

/**
 * Which stores a node writes into: only the one that it saves to. What restore-from names besides (a mirror, another region) is somebody
 * else's.
 */
export function isOwnStore({
  checkpointer,
}: Pick<System, "checkpointer">): (store: CheckpointStore) => boolean {
  return (store) => checkpointer !== undefined && isSamePlace(store, checkpointer.store);
}

function distrust({ archive }: Manifest, names: ReadonlySet<string> = new Set()): CairnError | undefined {
  if (![...names].some((name) => archive.name.startsWith(`${name}.`))) return undefined;
  return new CairnError("CHECKPOINT_CORRUPT", "The indexes restored from it proved damaged.", {
    hint: "An older checkpoint or the log itself is used instead.",
  });
}

/** Whether a checkpoint is one that this node can read and that this log continues. */
export async function acceptManifest(
  manifest: Manifest,
  kvFormat: string,
  log: TxLog,
  identity: LogIdentity,
): Promise<true | CairnError> {
  const { anchor } = manifest;
  const foreign = judgeFormat(manifest, kvFormat);
  if (foreign !== undefined) return foreign;
  if (manifest.log.id !== identity.id) {
    return continuesAt(identity.birth, { logId: manifest.log.id, ...anchor }) ? true : otherHistory(manifest);
  }
  if (manifest.log.offset !== (identity.birth?.offset ?? manifest.log.offset)) {
    return new CairnError("CHECKPOINT_CORRUPT", "Its offset is not that of its log.", {
      hint: "An older checkpoint or the log itself is used instead.",
    });
  }
  const position = anchor.txId - manifest.log.offset;
  return (await checkAnchor(log, { position, sha256: anchor.sha256 })) ?? true;
}

/** Why this Cairn cannot read the index in a checkpoint; undefined when it can. */
export function judgeFormat({ format }: Pick<Manifest, "format">, kvFormat: string): CairnError | undefined {
  if (format.index === INDEX_VERSION && format.kv === kvFormat) return undefined;
  return new CairnError(
    "INDEX_VERSION",
    `It holds an index of version ${format.index} in ${format.kv}; this node reads version ${INDEX_VERSION} in ${kvFormat}.`,
    { hint: "An older checkpoint of this version or the log itself is used instead." },
  );
}

function otherHistory({ log, txId }: Manifest): CairnError {
  return new CairnError(
    "LOG_DIFFERENT",
    `It ends at transaction ${txId} of the log ${log.name} (${log.id}), which this log does not continue there.`,
    { hint: "It is left alone. The checkpoint that the log continues, or a newer one of this log, is used." },
  );
}

/** The restored index must say of itself what the manifest says of it. */
export async function verifyRestored(provider: KvProvider, dir: string, manifest: Manifest): Promise<void> {
  const { kv, state } = await openIndex(fileReader(provider), dir);
  await kv.close();
  const found = state === undefined ? undefined : capturedState(state, provider.format);
  if (found !== undefined && isDeepStrictEqual(found, claimedState(manifest))) return;
  throw new CairnError(
    "CHECKPOINT_CORRUPT",
    `The index in it is not what its manifest says: it ends at transaction ${found?.txId ?? "none"}.`,
    { hint: "An older checkpoint or the log itself is used instead." },
  );
}

function claimedState({ format, log, txId, txTime, anchor, documents }: Manifest): IndexState {
  return {
    format: { index: format.index, kv: format.kv },
    log: { id: log.id, name: log.name, offset: log.offset },
    txId,
    txTime,
    anchor: { txId: anchor.txId, sha256: anchor.sha256 },
    documents,
  };
}

/** The newest checkpoint of a log of this name (with another id than `exceptId`) in any of the stores a node restores from. */
export async function newestCheckpointOfName(
  { system: { checkpointer }, report, signal }: Pick<JoinContext, "system" | "report" | "signal">,
  logName: string,
  exceptId?: string,
): Promise<{ name: string; txId: number } | undefined> {
  if (checkpointer === undefined) return undefined;
  for (const store of restoreStores(checkpointer)) {
    const { checkpoints } = await report.whileAsking([store], () => listCheckpoints(store, signal));
    const newest = checkpoints.find(({ log }) => log.name === logName && log.id !== exceptId);
    if (newest !== undefined) return { name: newest.name, txId: newest.txId };
  }
  return undefined;
}
