import { readdir, statfs } from "node:fs/promises";
import { dirname } from "node:path";
import {
  type CheckpointStore,
  findCandidates,
  isKeyMissing,
  type Manifest,
  type SkippedCheckpoint,
} from "@cairn/checkpoint";
import { CairnError, systemErrorCode } from "@cairn/kv";
import type { TxId } from "@cairn/client";
import { lastBackedUp, type PastPoint } from "@cairn/engine";
import { isoTime, formatBytes, formatCount, formatNumberOf, omitUndefined } from "@cairn/text";
import type { CommandRun } from "../options/command.ts";
import { noCheckpoint } from "../places/checkpoint-place.ts";

/** The checkpoints of a store that may be restored: the named one, or those of a log up to a point. */
export interface RestoreSelection {
  readonly store: CheckpointStore;
  readonly name?: string;
  readonly logId?: string;
  /** The point that a checkpoint must not go beyond. */
  readonly at?: PastPoint;
}

/** Returns the error for a checkpoint that goes beyond the given point; undefined if it does not. */
export function tooNew(
  { txId, txTime }: Pick<Manifest, "txId" | "txTime">,
  at: PastPoint | undefined,
): CairnError | undefined {
  const isNot = at === undefined || ("txId" in at ? txId <= at.txId : Date.parse(txTime) <= at.time);
  if (isNot) return undefined;
  const point = "txId" in at ? at.txId : isoTime(at.time);
  return new CairnError("CONFLICT", `It contains transactions after ${point}.`);
}

function nameOf(at: PastPoint): string {
  return "txId" in at ? `transaction ${at.txId}` : isoTime(at.time);
}

/** Returns, for the output, whether a checkpoint surely ends at the requested point. Prints a notice if it may not. */
export function notExact(
  run: CommandRun,
  txId: TxId | undefined,
  at: PastPoint | undefined,
): { exact?: boolean } {
  if (at === undefined) return {};
  const exact = "txId" in at && at.txId === txId;
  if (!exact && txId !== undefined)
    run.notice(
      `this is the newest usable checkpoint before ${nameOf(at)}: it ends with transaction ${txId}, and no log backup leads further.`,
    );
  return { exact };
}

/** Returns, for the output, how many later transactions the backup of its log holds, and says so. */
export async function beyondCheckpoint(
  run: CommandRun,
  store: CheckpointStore,
  { txId, log }: Pick<Manifest, "txId" | "log">,
): Promise<{ beyond: number }> {
  const last = await lastBackedUp([store], log.id);
  const beyond = Math.max(0, last - txId);
  if (beyond > 0)
    run.notice(
      `the log backup in the store holds ${formatNumberOf(beyond, "later transaction")}, up to ${last}, of which this index has none: --at-tx ${last} restores them as well.`,
    );
  return { beyond };
}

/** Returns the error of the named checkpoint or, without a name, `CHECKPOINT_NOT_FOUND`, which names the selection. */
export function noneOf(
  { store, name, at }: RestoreSelection,
  skipped: readonly SkippedCheckpoint[],
): CairnError {
  const named = skipped.find((one) => one.name === name);
  if (named !== undefined) return named.error;
  const unusable = skipped.filter(({ error }) => error.code !== "CONFLICT" && error.code !== "LOG_DIFFERENT");
  // One that is marked as damaged is tried last, and is then found to be beyond the point, too.
  const oldest = skipped.findLast(
    (one) => one.error.code === "CONFLICT" && !unusable.some((other) => other.name === one.name),
  );
  if (at === undefined || oldest === undefined) return noCheckpoint([store], name, unusable);
  return new CairnError(
    "CHECKPOINT_NOT_FOUND",
    `No usable checkpoint in ${store.location} ends at or before ${nameOf(at)}.`,
    `Choose a later point: the oldest checkpoint is ${oldest.name}.`,
  );
}

interface PlannedCheckpoint {
  readonly name: string;
  readonly txId: TxId | null;
  readonly archiveBytes: number | null;
  /** `older` checkpoints are fallbacks. */
  readonly fate: "restored" | "older" | "skipped";
  readonly because: string;
}

/**
 * Prints the expected result of a restore, from manifests and disk space alone: a damaged archive is not detected. Then
 * throws the error of a restore that would be refused, so that scripts notice it.
 */
export async function planRestore(
  run: CommandRun,
  selection: RestoreSelection,
  target: string,
): Promise<void> {
  const { store, name: only, logId, at } = selection;
  const skipped: SkippedCheckpoint[] = [];
  /** By name, in the order in which a restore would try them. */
  const planned = new Map<string, PlannedCheckpoint>();
  let best: (PlannedCheckpoint & Pick<Manifest, "txId" | "log">) | undefined;
  let bytes = 0;
  const onSkipped = (one: SkippedCheckpoint): void => {
    // The restore itself would be refused.
    if (isKeyMissing(one, logId)) throw one.error;
    skipped.push(one);
    const { name, error } = one;
    const { code, message } = error;
    const because = code === "LOG_DIFFERENT" ? message : `${code}: ${message}`;
    planned.set(name, { name, txId: null, archiveBytes: null, fate: "skipped", because });
  };
  const options = { ...omitUndefined({ logId, name: only }), onSkipped };
  for await (const { name, manifest, damaged } of findCandidates([store], options)) {
    // One that is marked as damaged was reported before, and is tried last.
    planned.delete(name);
    const entry = { name, txId: manifest.txId, archiveBytes: manifest.archive.bytes };
    const error = tooNew(manifest, at);
    if (error !== undefined) {
      skipped.push({ name, store: store.location, error });
      planned.set(name, { ...entry, fate: "skipped", because: error.message });
    } else if (best === undefined) {
      const restored = { ...entry, fate: "restored", because: damaged ? MARKED : BEST } as const;
      best = { ...restored, log: manifest.log };
      bytes = manifest.files.reduce((sum, file) => sum + file.bytes, 0);
      planned.set(name, restored);
    } else planned.set(name, { ...entry, fate: "older", because: damaged ? MARKED : FALLBACK });
  }
  const freeBytes = await freeAt(target);
  const lack = `The files need ${formatBytes(bytes)}, but only ${formatBytes(freeBytes)} are free in ${dirname(target)}.`;
  const refusal =
    (best === undefined ? noneOf(selection, skipped) : undefined) ??
    (await occupied(target)) ??
    (bytes > freeBytes ? new CairnError("DISK_FULL", lack) : undefined);
  const exact = {
    ...notExact(run, best?.txId, at),
    ...(best === undefined || at !== undefined ? {} : await beyondCheckpoint(run, store, best)),
  };
  const candidates = [...planned.values()];
  const rows = candidates.map(({ name, txId, archiveBytes, fate, because }) => [
    fate === "restored" ? "would restore" : fate,
    name,
    txId === null ? "" : formatCount(txId),
    archiveBytes === null ? "" : formatBytes(archiveBytes),
    because,
  ]);
  const space = `${formatBytes(bytes)} of files, ${formatBytes(freeBytes)} free`;
  const lines = [
    ...(rows.length === 0 ? [] : [run.table(["", "NAME", "TX", "SIZE", "WHY"], rows, ["TX", "SIZE"])]),
    ...(best === undefined ? [] : [`would restore ${best.name} to ${target}: ${space}`]),
  ];
  const chosen =
    best === undefined ? null : { name: best.name, txId: best.txId, archiveBytes: best.archiveBytes };
  const places = { target, store: store.location };
  const plan = { chosen, bytes, freeBytes, ...places, candidates, refusal: refusalFields(refusal), ...exact };
  if (lines.length > 0 || run.json) await run.answer({ dryRun: true, ...plan }, lines.join("\n"));
  throwRefusal(refusal);
}

const MARKED = "It is marked as damaged, and is tried if no other one can be restored.";
const FALLBACK = "It would be restored if the newer ones were damaged.";
const BEST = "It is the newest checkpoint that is not skipped.";

/** Returns the reason why the work itself would be refused, for the output; null if none is known. */
export function refusalFields(refusal: CairnError | undefined): Pick<CairnError, "code" | "message"> | null {
  return refusal === undefined ? null : { code: refusal.code, message: refusal.message };
}

export function throwRefusal(refusal: CairnError | undefined): void {
  if (refusal === undefined) return;
  const hint = "Remove the cause, then run the command without --dry-run.";
  throw new CairnError(refusal.code, refusal.message, hint);
}

export async function occupied(target: string): Promise<CairnError | undefined> {
  try {
    if ((await readdir(target)).length === 0) return undefined;
  } catch (error) {
    const code = systemErrorCode(error);
    if (code === "ENOENT") return undefined;
    if (code !== "ENOTDIR") throw error;
  }
  return new CairnError(
    "CONFLICT",
    `${target} is not empty. A checkpoint can be restored only to a new or empty directory.`,
  );
}

/** Returns the free bytes of the target's file system. The target's folder need not exist yet. */
async function freeAt(target: string): Promise<number> {
  for (let folder = dirname(target); ; folder = dirname(folder)) {
    try {
      const { bavail, bsize } = await statfs(folder);
      return bavail * bsize;
    } catch (error) {
      if (systemErrorCode(error) !== "ENOENT" || folder === dirname(folder)) throw error;
    }
  }
}
