import path from "node:path";
import {
  type CheckpointStore,
  type Manifest,
  restoreCheckpoint,
  type RestoreOptions,
  type SkippedCheckpoint,
} from "@cairn/checkpoint";
import { CairnError, removeFolder, withTimeout } from "@cairn/kv";
import { acceptManifest, verifyRestored } from "../checkpoints/accept-checkpoint.ts";
import { restoreStores, isOwnStore } from "../checkpoints/checkpoint-stores.ts";
import { tryMarkDamaged } from "../checkpoints/verify-checkpoint.ts";
import { IndexStore } from "../index/index-store.ts";
import type { IndexDirectory } from "../db-dir/index-directory.ts";
import type { Logger } from "pino";
import type { EventDispatcher, WorkRun } from "../observe/event-dispatcher.ts";
import type { Attachment } from "./attachment.ts";
import type { JoinReport } from "./join-report.ts";
import { isDamage } from "../observe/failures.ts";
import { emptyState, type IndexState } from "../index/rows/index-state.ts";
import { openIndex, type OpenedIndex, readIndex } from "../index/local-index.ts";
import type { LogIdentity } from "../log/log-identity.ts";
import { listedSkipped } from "../observe/skipped-checkpoints.ts";
import { historyOfManifest, shownLost, type Witnesses } from "./shown-lost.ts";

export interface RestoreContext extends Witnesses {
  readonly logger: Logger;
  readonly directory: IndexDirectory;
  readonly report: JoinReport;
  readonly events: EventDispatcher;
  /** The names of checkpoints that are skipped because indexes restored from them turned out to be damaged. */
  readonly distrusted: ReadonlySet<string>;
  /** Serves stale reads from the checkpoint that is restored, unless there is a local index. */
  readonly attachment: Attachment;
  /** Whether checkpoints marked as damaged are restored if there is no other. Defaults to true. */
  readonly marked?: boolean;
}

/** The time after which a store that does not answer at all counts as unreachable, so that the wait for it begins. */
const ANSWER_MS = 60_000;

/** The maximum time that joining waits for damaged checkpoints to be marked. */
const MARK_MS = 5_000;

export interface Replaced {
  /** Moves the local index aside; called with the index that replaces it, which is closed afterwards. */
  readonly leave: (newer: OpenedIndex) => Promise<void>;
  /** Only checkpoints after this transaction are restored. */
  readonly beyond?: Pick<IndexState, "txId">;
}

/**
 * Restores and opens the newest checkpoint that agrees with this log, if any; the report gives the reason for each one
 * skipped. Throws `STORE_UNREACHABLE`, because an unreachable store must not be treated as empty.
 */
export async function restoreNewest(
  context: RestoreContext,
  identity: LogIdentity,
  local?: Replaced,
): Promise<IndexStore | undefined> {
  const stores = restoreStores(context.system);
  if (stores.length === 0) return undefined;
  return await context.events.observe("restore", async (run) => {
    const index = await restoreFromStores(context, identity, stores, run, local);
    const { restoredFrom, skipped } = context.report;
    if (index === undefined || restoredFrom === null) run.ended({ outcome: "none", skipped });
    else run.ended({ outcome: "restored", ...restoredFrom, skipped });
    return index;
  });
}

async function restoreFromStores(
  context: RestoreContext,
  identity: LogIdentity,
  stores: readonly CheckpointStore[],
  run: WorkRun<"restore">,
  local: Replaced | undefined,
): Promise<IndexStore | undefined> {
  const { system, directory, report, signal, attachment } = context;
  const { kvProvider: provider } = system;
  const { live, staging, own } = directory.layout;
  // An index in memory is loaded from restored files, which are removed once it is open; it must not touch live/.
  const direct = provider.persistent && local === undefined;
  const targetDir = direct ? live : path.join(staging, "loading");
  const isOwn = isOwnStore(system);
  const damaged: string[] = [];
  let isMarked = false;
  const restoring: RestoreOptions = {
    stores,
    answerMs: Math.min(ANSWER_MS, Math.max(1_000, system.waitForStoreMs ?? ANSWER_MS)),
    stagingDir: staging,
    targetDir,
    node: system.nodeId,
    reserveIn: isOwn,
    // If the log continues another one, a checkpoint of the older log may be usable as well; acceptManifest decides.
    ...(identity.birth?.continues === undefined ? { logId: identity.id } : {}),
    accept: async (manifest) =>
      distrust(manifest, context.distrusted) ??
      tooOld(manifest, local?.beyond) ??
      (await report.whileAsking([], () => accepted(context, manifest, identity))),
    verify: (dir, manifest) =>
      report.whileAsking([], () =>
        verifyRestored(provider, dir, manifest, { own, indexes: system.ownIndexes ?? [] }),
      ),
    marked: context.marked,
    onRead: report.onRead,
    onAccepted: (candidate) => {
      isMarked = candidate.damaged;
      if (local === undefined && candidate.manifest.log.id === identity.id) attachment.begin(candidate);
    },
    onProgress: ({ done, total, dir }) => {
      attachment.unpacked({ done, dir });
      run.moved(done);
      report.advance("bytes", done, total);
    },
    onSkipped: ({ name, error }, store) => {
      attachment.skipped(name);
      if (isOwn(store) && isDamage(error)) damaged.push(name);
    },
    signal,
  };
  const { restored, skipped } = await report.whileAsking(stores, () => restoreCheckpoint(restoring));
  await reportSkipped(context, skipped, damaged);
  report.finish();
  if (restored === undefined) return undefined;
  const { name, store, manifest } = restored;
  if (isMarked) context.logger.warn(markedOnly(name, store));
  if (local !== undefined) {
    await readIndex(provider, targetDir, async (newer) => await local.leave(newer));
    await directory.place(targetDir);
  }
  const { kv } = await openIndex(provider, local === undefined ? targetDir : live);
  // They could contain what is evicted later.
  if (!provider.persistent) await removeFolder(targetDir);
  const { txId, takenAt, archive } = manifest;
  run.moved(archive.bytes);
  report.restoredFrom = { name, store, txId };
  report.restoredCheckpoint = { name, txId, takenAt, bytes: archive.bytes };
  return await IndexStore.open(kv, emptyState(identity));
}

function markedOnly(name: string, store: string): string {
  return `${name} in ${store} is marked as damaged, but there is neither another checkpoint nor a complete log from which the index could be built. It may be wrong: cairn checkpoint verify shows what was found.`;
}

async function reportSkipped(
  { system: { checkpointer, nodeId }, report, distrusted }: RestoreContext,
  skipped: readonly SkippedCheckpoint[],
  damaged: readonly string[],
): Promise<void> {
  report.skipped = listedSkipped(skipped);
  report.damaged = damaged;
  if (checkpointer !== undefined) {
    // A checkpoint whose restored indexes turned out to be damaged later is not marked, because this node's disk may be
    // at fault.
    const found = damaged.filter((name) => !distrusted.has(name));
    await withTimeout(tryMarkDamaged(checkpointer.store, found, nodeId), MARK_MS);
  }
}

function distrust({ archive }: Manifest, names: ReadonlySet<string>): CairnError | undefined {
  if (![...names].some((name) => archive.name.startsWith(`${name}.`))) return undefined;
  return new CairnError(
    "CHECKPOINT_CORRUPT",
    "Indexes restored from it turned out to be damaged.",
    "An older checkpoint or the log itself is used instead.",
  );
}

async function accepted(
  context: RestoreContext,
  manifest: Manifest,
  identity: LogIdentity,
): Promise<true | CairnError> {
  const { system, log } = context;
  const found = await acceptManifest(manifest, system.kvProvider.format, log, identity);
  if (found !== true || manifest.log.id !== identity.id) return found;
  return (await shownLost(context, historyOfManifest(manifest))) ?? true;
}

function tooOld({ txId }: Manifest, beyond: Replaced["beyond"]): CairnError | undefined {
  if (beyond === undefined || txId > beyond.txId) return undefined;
  return new CairnError(
    "LOG_GAP",
    "It ends before the messages that the log lacks.",
    "The node waits for a newer one.",
  );
}
