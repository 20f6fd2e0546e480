import { readdir, rename, rmdir } from "node:fs/promises";
import path from "node:path";
import {
  CairnError,
  type KvProvider,
  makeFolder,
  removeFolder,
  syncFile,
  syncFolder,
  systemErrorCode,
} from "@cairn/kv";
import { UnusableSegment } from "../backup/segments/segment.ts";
import { judgeFormat } from "../checkpoints/accept-checkpoint.ts";
import { digestIndex } from "../index/read/digest.ts";
import { readIndex } from "../index/local-index.ts";
import { isDamage } from "../observe/failures.ts";
import type { PastPlan, Unusable } from "./past-plan.ts";
import {
  rebuildIndex,
  type RebuildOptions,
  type RebuiltIndex,
  restoreInto,
  type Restoring,
} from "./rebuild-index.ts";

interface PastBuild extends Restoring, Pick<RebuildOptions, "onProgress"> {
  readonly plan: PastPlan;
}

export type PastIndex = Omit<RebuiltIndex, "chains" | "basis">;

/** Verifies every digest and anchor. Throws the errors of checkpoints, segments, stores and logs. */
async function buildPast({ plan, ...options }: PastBuild): Promise<PastIndex> {
  const { history, txId, checkpoint, index } = plan;
  if (index !== undefined) return await readPast(options.system.kvProvider, index.dir, index.place);
  if (history !== undefined)
    return await rebuildIndex({ ...options, log: history, txId, preferCheckpoint: true });
  const { system, dir } = options;
  const { kvProvider: provider } = system;
  await removeFolder(dir);
  const live = path.join(dir, "live");
  const name = checkpoint?.name ?? "";
  const { restored, skipped } = await restoreInto(live, options, {
    name,
    accept: (manifest) => Promise.resolve(judgeFormat(manifest, provider.format) ?? true),
  });
  if (restored === undefined) throw skipped[0]?.error ?? gone(name);
  return await readPast(provider, live, name);
}

async function readPast(provider: KvProvider, live: string, name: string): Promise<PastIndex> {
  return await readIndex(provider, live, async ({ kv, state }) => {
    const digest = await digestIndex(kv);
    if (state === undefined || digest === undefined) throw gone(name);
    return { live, ...digest, state };
  });
}

interface PlannedBuild extends Omit<PastBuild, "plan" | "onSkipped"> {
  /** Called with the error of a damaged segment, after which the plan is made again without it. */
  readonly onSegment: (error: CairnError) => void;
}

/**
 * Carries out the plan that `plan` returns. If it depends on a checkpoint or a segment that turns out to be damaged, plans
 * again without the damaged ones. `onDamaged` receives the checkpoints. The plan that is returned depends on none of them.
 */
export async function buildPlanned(
  plan: (found: Unusable) => Promise<PastPlan>,
  { onSegment, ...options }: PlannedBuild,
  onDamaged: NonNullable<PastBuild["onSkipped"]>,
): Promise<{ readonly plan: PastPlan; readonly past: PastIndex }> {
  const checkpoints = new Map<string, CairnError>();
  const segments = new Set<string>();
  const onSkipped: PastBuild["onSkipped"] = (skipped, store) => {
    if (!isDamage(skipped.error) || checkpoints.has(skipped.name)) return;
    checkpoints.set(skipped.name, skipped.error);
    onDamaged(skipped, store);
  };
  const planned = async (): Promise<PastPlan> => await plan({ checkpoints, segments });
  for (;;) {
    let made: PastPlan | undefined;
    try {
      made = await planned();
      const past = await buildPast({ ...options, plan: made, onSkipped });
      return { past, plan: checkpoints.has(made.checkpoint?.name ?? "") ? await planned() : made };
    } catch (error) {
      const name = made?.history === undefined ? made?.checkpoint?.name : undefined;
      if (name !== undefined && checkpoints.has(name)) continue;
      if (!(error instanceof UnusableSegment) || segments.has(error.file)) throw error;
      segments.add(error.file);
      onSegment(error);
    }
  }
}

/** Moves a built index to `target`, a new or empty folder on the same file system, and flushes it. */
export async function placePast({ live }: PastIndex, target: string): Promise<void> {
  for (const name of await readdir(live)) await syncFile(path.join(live, name));
  await syncFolder(live);
  await makeFolder(path.dirname(target));
  await requireEmpty(target);
  await rename(live, target);
  await syncFolder(path.dirname(target));
}

/** Throws `CONFLICT` if a folder contains files. Removes an empty folder. */
export async function requireEmpty(target: string): Promise<void> {
  try {
    await rmdir(target);
  } catch (error) {
    const code = systemErrorCode(error);
    if (code === "ENOENT") return;
    if (code !== "ENOTEMPTY" && code !== "EEXIST" && code !== "ENOTDIR") throw error;
    throw new CairnError(
      "CONFLICT",
      `${target} is not empty. An index can be written only to a new or empty directory.`,
      "Name another directory, or move this one. Nothing was changed.",
    );
  }
}

function gone(name: string): CairnError {
  return new CairnError(
    "CHECKPOINT_NOT_FOUND",
    `${name} has just been removed.`,
    "Run the command again. It will use what is left.",
  );
}
