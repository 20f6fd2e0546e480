import { readdir, statfs } from "node:fs/promises";
import { dirname } from "node:path";
import {
  type CheckpointStore,
  findCandidates,
  isKeyMissing,
  type Manifest,
  type SkippedCheckpoint,
} from "@cairn/checkpoint";
import { CairnError, type ErrorCode, systemErrorCode } from "@cairn/kv";
import type { PastPoint } from "../../replay/past-plan.ts";
import { isoTime } from "../../text/iso-time.ts";
import { omitUndefined } from "../../config/source/omit-undefined.ts";
import { noCheckpoint } from "../places/checkpoint-place.ts";
import { formatTable } from "../terminal/columns.ts";
import { formatBytes, formatCount } from "../../text/quantities.ts";
import { type Terminal, writeJson, writeLine } from "../terminal/terminal.ts";

/** The checkpoints of a store that may be restored: the named one, or those of a log up to a point. */
export interface RestoreSelection {
  readonly store: CheckpointStore;
  readonly name?: string;
  readonly logId?: string;
  /** The point that a checkpoint must not go beyond. */
  readonly at?: PastPoint;
}

/** The expected result of a restore, according to manifests and disk space. */
export interface RestorePlan {
  readonly chosen: { readonly name: string; readonly txId: number; readonly archiveBytes: number } | null;
  /** The number of bytes that the restore would write, and the number that are free in the target's file system. */
  readonly bytes: number;
  readonly freeBytes: number;
  readonly target: string;
  readonly store: string;
  /** The candidates, newest first. Those marked `older` are fallbacks, in this order. */
  readonly candidates: readonly {
    readonly name: string;
    readonly txId: number | null;
    readonly archiveBytes: number | null;
    readonly fate: "restored" | "older" | "skipped";
    readonly because: string;
  }[];
  /** The reason why the restore would be refused; null if none is known. */
  readonly refusal: { readonly code: ErrorCode; readonly message: string } | null;
}

/** Returns the error for a checkpoint that goes beyond the given point; undefined if it does not. */
export function tooNew(
  { txId, txTime }: Pick<Manifest, "txId" | "txTime">,
  at: PastPoint | undefined,
): CairnError | undefined {
  const isNot = at === undefined || ("txId" in at ? txId <= at.txId : Date.parse(txTime) <= at.time);
  return isNot ? undefined : new CairnError("CONFLICT", `It contains transactions after ${nameOf(at)}.`);
}

function nameOf(at: PastPoint): string {
  return "txId" in at ? `${at.txId}` : isoTime(at.time);
}

/**
 * Returns a notice if a checkpoint may end before the requested point; undefined if it ends with the requested
 * transaction, or if no point was requested.
 */
export function notExact({ txId }: Pick<Manifest, "txId">, at: PastPoint | undefined): string | undefined {
  if (at === undefined || ("txId" in at && at.txId === txId)) return undefined;
  const point = "txId" in at ? `transaction ${at.txId}` : isoTime(at.time);
  return `notice: this is the newest usable checkpoint before ${point}: it ends with transaction ${txId}, and no log backup leads further.\n`;
}

/** Returns `CHECKPOINT_NOT_FOUND`, with a message that names the selection. */
export function noneOf(
  { store, name, at }: RestoreSelection,
  skipped: readonly SkippedCheckpoint[],
): CairnError {
  const unusable = skipped.filter(({ error }) => error.code !== "CONFLICT" && error.code !== "LOG_DIFFERENT");
  const beyond = skipped.filter(({ error }) => error.code === "CONFLICT");
  const oldest = beyond.at(-1);
  if (at === undefined || oldest === undefined) return noCheckpoint([store], name, unusable);
  return new CairnError(
    "CHECKPOINT_NOT_FOUND",
    `No usable checkpoint in ${store.location} ends at or before ${"txId" in at ? "transaction " : ""}${nameOf(at)}.`,
    { hint: `Choose a later point: the oldest checkpoint is ${oldest.name}.` },
  );
}

/** Only manifests are read, so a damaged archive is not detected before it is restored or verified. */
export async function planRestore(selection: RestoreSelection, target: string): Promise<RestorePlan> {
  const { store, name, logId, at } = selection;
  const candidates: RestorePlan["candidates"][number][] = [];
  const skipped: SkippedCheckpoint[] = [];
  let chosen: RestorePlan["chosen"] = null;
  let bytes = 0;
  const onSkipped = (one: SkippedCheckpoint): void => {
    // The restore itself would be refused.
    if (isKeyMissing(one, logId)) throw one.error;
    skipped.push(one);
    const { code, message } = one.error;
    const because = code === "CONFLICT" || code === "LOG_DIFFERENT" ? message : `${code}: ${message}`;
    candidates.push({ name: one.name, txId: null, archiveBytes: null, fate: "skipped", because });
  };
  const only = omitUndefined({ logId, name });
  for await (const { name: one, manifest, damaged } of findCandidates([store], { ...only, onSkipped })) {
    // One that is marked as damaged was reported before, and is tried last.
    if (damaged) for (const list of [skipped, candidates]) dropNamed(list, one);
    const error = tooNew(manifest, at);
    const entry = { name: one, txId: manifest.txId, archiveBytes: manifest.archive.bytes };
    if (error !== undefined) {
      skipped.push({ name: one, store: store.location, error });
      candidates.push({ ...entry, fate: "skipped", because: error.message });
    } else if (chosen === null) {
      chosen = entry;
      bytes = manifest.files.reduce((sum, file) => sum + file.bytes, 0);
      candidates.push({
        ...entry,
        fate: "restored",
        because: damaged ? MARKED : "It is the newest checkpoint that is not skipped.",
      });
    } else {
      candidates.push({
        ...entry,
        fate: "older",
        because: damaged ? MARKED : "It would be restored if the newer ones were damaged.",
      });
    }
  }
  const named = skipped.find((one) => one.name === name)?.error;
  const missing = chosen === null ? (named ?? noneOf(selection, skipped)) : undefined;
  const freeBytes = await freeAt(target);
  const refusal = missing ?? (await occupied(target)) ?? noRoom(target, bytes, freeBytes);
  return {
    chosen,
    bytes,
    freeBytes,
    target,
    store: store.location,
    candidates,
    refusal: refusal === undefined ? null : { code: refusal.code, message: refusal.message },
  };
}

const MARKED = "It is marked as damaged, and is tried if no other one can be restored.";

function dropNamed(list: { readonly name: string }[], name: string): void {
  const index = list.findIndex((one) => one.name === name);
  if (index >= 0) list.splice(index, 1);
}

/** If the restore would be refused, then throws the error of the refusal, so that scripts notice it. */
export async function writeRestorePlan(
  plan: RestorePlan,
  at: PastPoint | undefined,
  { json }: { readonly json?: boolean },
  terminal: Terminal,
): Promise<void> {
  const { chosen, candidates, bytes, freeBytes, target, refusal } = plan;
  if (json === true) {
    const exact = at === undefined ? {} : { exact: "txId" in at && chosen?.txId === at.txId };
    await writeJson(terminal.stdout, { dryRun: true, ...plan, ...exact });
  } else {
    const rows = candidates.map(({ name, txId, archiveBytes, fate, because }) => [
      fate === "restored" ? "would restore" : fate,
      name,
      txId === null ? "" : formatCount(txId),
      archiveBytes === null ? "" : formatBytes(archiveBytes),
      because,
    ]);
    if (rows.length > 0) {
      await writeLine(
        terminal.stdout,
        formatTable(["", "NAME", "TX", "SIZE", "WHY"], rows, ["TX", "SIZE"], terminal.stdout),
      );
    }
    if (chosen !== null) {
      const space = `${formatBytes(bytes)} of files, ${formatBytes(freeBytes)} free`;
      await writeLine(terminal.stdout, `would restore ${chosen.name} to ${target}: ${space}`);
    }
  }
  if (refusal !== null) {
    const { code, message } = refusal;
    throw new CairnError(code, message, {
      hint: "Remove the cause, then run the command without --dry-run.",
    });
  }
}

/** Returns the error for a target that is not empty. */
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

function noRoom(target: string, bytes: number, free: number): CairnError | undefined {
  if (bytes <= free) return undefined;
  return new CairnError(
    "DISK_FULL",
    `The files need ${formatBytes(bytes)}, but only ${formatBytes(free)} are free in ${dirname(target)}.`,
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
