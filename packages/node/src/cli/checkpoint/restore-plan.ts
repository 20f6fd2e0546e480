import { readdir, statfs } from "node:fs/promises";
import { dirname } from "node:path";
import {
  type CheckpointStore,
  findCandidates,
  type Manifest,
  type SkippedCheckpoint,
} from "@cairn/checkpoint";
import { CairnError, type ErrorCode, systemErrorCode } from "@cairn/kv";
import { noCheckpoint } from "../places/checkpoint-place.ts";
import { formatTable } from "../terminal/columns.ts";
import { formatBytes, formatCount } from "../terminal/quantities.ts";
import { type Terminal, writeJson, writeLine } from "../terminal/terminal.ts";

/** Which checkpoints of a store may be restored: the one of a name, or those of a log up to a transaction. */
export interface RestoreSelection {
  readonly store: CheckpointStore;
  readonly name?: string;
  readonly logId?: string;
  /** At or before this transaction. */
  readonly atTx?: number;
}

/** What a restore would do, as far as the manifests and the disk say. */
export interface RestorePlan {
  readonly chosen: { readonly name: string; readonly txId: number; readonly archiveBytes: number } | null;
  /** Bytes of the files that it would write, and those free where they would lie. */
  readonly bytes: number;
  readonly freeBytes: number;
  readonly target: string;
  readonly store: string;
  /** Newest first. `older`: what it would fall back on, in this order. */
  readonly candidates: readonly {
    readonly name: string;
    readonly txId: number | null;
    readonly archiveBytes: number | null;
    readonly fate: "restored" | "older" | "skipped";
    readonly because: string;
  }[];
  /** Why it would be refused; null where nothing is known to be in the way. */
  readonly refusal: { readonly code: ErrorCode; readonly message: string } | null;
}

/** Why a checkpoint is beyond the transaction that was asked for. */
export function tooNew({ txId }: Manifest, atTx: number | undefined): CairnError | undefined {
  if (atTx === undefined || txId <= atTx) return undefined;
  return new CairnError("CONFLICT", `It holds transactions after ${atTx}.`);
}

/** `CHECKPOINT_NOT_FOUND`, in the words of what was asked for. */
export function noneOf(
  { store, name, atTx }: RestoreSelection,
  skipped: readonly SkippedCheckpoint[],
): CairnError {
  const unusable = skipped.filter(({ error }) => error.code !== "CONFLICT" && error.code !== "LOG_DIFFERENT");
  const beyond = skipped.filter(({ error }) => error.code === "CONFLICT");
  const oldest = beyond.at(-1);
  if (atTx === undefined || oldest === undefined) return noCheckpoint([store], name, unusable);
  return new CairnError(
    "CHECKPOINT_NOT_FOUND",
    `No usable checkpoint in ${store.location} ends at or before transaction ${atTx}.`,
    { hint: `The oldest is ${oldest.name}.` },
  );
}

/** Looks which checkpoint would be restored. Reads manifests only: whether an archive is whole shows when it is restored or verified. */
export async function planRestore(selection: RestoreSelection, target: string): Promise<RestorePlan> {
  const { store, name, logId, atTx } = selection;
  const candidates: RestorePlan["candidates"][number][] = [];
  const skipped: SkippedCheckpoint[] = [];
  let chosen: RestorePlan["chosen"] = null;
  let bytes = 0;
  const onSkipped = (one: SkippedCheckpoint): void => {
    skipped.push(one);
    const { code, message } = one.error;
    const because = code === "CONFLICT" || code === "LOG_DIFFERENT" ? message : `${code}: ${message}`;
    candidates.push({ name: one.name, txId: null, archiveBytes: null, fate: "skipped", because });
  };
  const only = { ...(logId === undefined ? {} : { logId }), ...(name === undefined ? {} : { name }) };
  for await (const { name: one, manifest } of findCandidates([store], { ...only, onSkipped })) {
    const error = tooNew(manifest, atTx);
    const entry = { name: one, txId: manifest.txId, archiveBytes: manifest.archive.bytes };
    if (error !== undefined) {
      skipped.push({ name: one, store: store.location, error });
      candidates.push({ ...entry, fate: "skipped", because: error.message });
    } else if (chosen === null) {
      chosen = entry;
      bytes = manifest.files.reduce((sum, file) => sum + file.bytes, 0);
      candidates.push({ ...entry, fate: "restored", because: "It is the newest of those that remain." });
    } else {
      candidates.push({ ...entry, fate: "older", because: "It is taken where those above prove damaged." });
    }
  }
  const named = skipped.find((one) => one.name === name)?.error;
  const missing = chosen === null ? (named ?? noneOf(selection, skipped)) : undefined;
  const freeBytes = await freeAt(target);
  const refusal = missing ?? (await inTheWay(target)) ?? noRoom(target, bytes, freeBytes);
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

/** Writes a plan; throws what the restore would be refused with, so that a script hears of it. */
export async function tellRestorePlan(
  plan: RestorePlan,
  { json }: { readonly json?: boolean },
  terminal: Terminal,
): Promise<void> {
  const { chosen, candidates, bytes, freeBytes, target, refusal } = plan;
  if (json === true) {
    await writeJson(terminal.stdout, { dryRun: true, ...plan });
  } else {
    const rows = candidates.map(({ name, txId, archiveBytes, fate, because }) => [
      fate === "restored" ? "would restore" : fate,
      name,
      txId === null ? "" : formatCount(txId),
      archiveBytes === null ? "" : formatBytes(archiveBytes),
      because,
    ]);
    if (rows.length > 0) {
      await writeLine(terminal.stdout, formatTable(["", "NAME", "TX", "SIZE", "WHY"], rows, ["TX", "SIZE"]));
    }
    if (chosen !== null) {
      const room = `${formatBytes(bytes)} of files, ${formatBytes(freeBytes)} free`;
      await writeLine(terminal.stdout, `would restore ${chosen.name} to ${target}: ${room}`);
    }
  }
  if (refusal !== null) {
    const { code, message } = refusal;
    throw new CairnError(code, message, { hint: "Nothing was restored: --dry-run only looks." });
  }
}

async function inTheWay(target: string): Promise<CairnError | undefined> {
  try {
    if ((await readdir(target)).length === 0) return undefined;
  } catch (error) {
    const code = systemErrorCode(error);
    if (code === "ENOENT") return undefined;
    if (code !== "ENOTDIR") throw error;
  }
  return new CairnError(
    "CONFLICT",
    `${target} is not empty, and a checkpoint is only restored to a new directory.`,
  );
}

function noRoom(target: string, bytes: number, free: number): CairnError | undefined {
  if (bytes <= free) return undefined;
  return new CairnError(
    "DISK_FULL",
    `The files have ${formatBytes(bytes)}, and ${dirname(target)} has ${formatBytes(free)} free.`,
  );
}

/** Of the file system that the target would lie on; its folder may not be there yet. */
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
