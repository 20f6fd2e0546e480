import { type CairnError, isCairnError } from "@cairn/kv";
import type { CheckpointStore } from "../store/checkpoint-store.ts";
import { checkpointFile } from "../store/checkpoint.ts";
import { readLeases } from "../store/lease-record.ts";
import { checkpointFiles, type CheckpointFiles, readListings } from "../store/list-checkpoints.ts";
import { readReservations } from "../store/reservations.ts";
import { decideOwn, type OwnDecision, type OwnLog } from "./own-checkpoints.ts";
import type { RetentionDecision } from "./retention.ts";

/** Options for pruning a store. No node needs to be running. Without a `logId`, every checkpoint is kept. */
export interface PruneOptions extends OwnLog {
  /** Whether checkpoints of other logs are removed once there are enough of this one. Defaults to false. */
  readonly otherLogs?: boolean;
  /** Whether checkpoints with transactions that the log lost are removed once one agrees. Defaults to false. */
  readonly lost?: boolean;
  /**
   * Whether unusable checkpoints are removed an hour after the last write, and this log's damaged ones once there are
   * enough others. Defaults to false.
   */
  readonly damaged?: boolean;
  /** Whether checkpoints with a manifest are part of the plan. Defaults to true. */
  readonly complete?: boolean;
  /** How long an archive without a manifest is left alone after its last write (ms). Defaults to one hour. */
  readonly orphanGraceMs?: number | undefined;
}

/** `bytes` is the size of its archive; `txId` and `takenAt` come from its name. */
export interface PruneEntry extends RetentionDecision {
  readonly kind: "checkpoint" | "damaged" | "leftover" | "reservation";
  readonly txId: number | null;
  readonly takenAt: string | null;
  readonly bytes: number;
  /** Whether it had a mark of verification when this was decided. Defaults to false. */
  readonly marked?: boolean;
  /** The log of the checkpoint; undefined if no valid manifest names it. */
  readonly log?: { readonly id: string; readonly name: string };
}

export interface PruneReport {
  /** The plan as it was carried out: what a node began to restore or verified meanwhile is kept. */
  readonly entries: readonly PruneEntry[];
  readonly removed: readonly PruneEntry[];
  readonly failed: readonly { readonly name: string; readonly error: CairnError }[];
}

/** How long an archive without a manifest is left alone after its last write. */
export const ORPHAN_GRACE_MS = 3_600_000;
const DAMAGE_GRACE_MS = 3_600_000;
/** The reason for keeping a checkpoint with a reservation. */
export const RESTORED = "a node is restoring it";

/** Lists checkpoints, newest first, and then expired reservations. Changes nothing. */
export async function planPrune(options: PruneOptions): Promise<PruneEntry[]> {
  const { store, complete = true } = options;
  const listed = (await checkpointFiles(store)).filter(({ manifest }) => complete || manifest === undefined);
  const { reserved, expired } = await readReservations(store);
  const dead = new Set(await deadArchives(store, listed, options.orphanGraceMs));
  const { checkpoints: usable, skipped } = await readListings(store, listed);
  const unusable = new Map(skipped.map((one) => [one.name, one]));
  const now = await store.now();
  const own = await decideOwn(options, usable, now);
  const kept = [...own.values()].filter(({ keep, current }) => keep && current).length;
  const found = new Map(usable.map((checkpoint) => [checkpoint.name, checkpoint]));

  const judge = (files: CheckpointFiles): PruneEntry => {
    const { name, parsed, archive } = files;
    const entry = { name, txId: parsed.txId, takenAt: new Date(parsed.takenAt).toISOString() };
    const bytes = archive?.bytes ?? 0;
    const marked = files.verified !== undefined;
    const checkpoint = found.get(name);
    if (checkpoint !== undefined) {
      const { id, name: logName } = checkpoint.log;
      const decision = decideUsable(options, own.get(name), kept);
      const kind = checkpoint.damaged ? "damaged" : "checkpoint";
      return { ...entry, bytes, marked, ...decision, name, kind, log: { id, name: logName } };
    }
    const broken = unusable.get(name);
    if (broken !== undefined) {
      const writtenAt = Math.max(archive?.modifiedAt ?? 0, files.manifest?.modifiedAt ?? 0);
      const decision = decideDamaged(options, broken.error, now - writtenAt);
      return { ...entry, bytes, marked, ...decision, kind: "damaged" };
    }
    const because = dead.has(name)
      ? "it has no manifest, and has not been written to for an hour"
      : "it has no manifest; a node may be writing it";
    return { ...entry, bytes, keep: !dead.has(name), because, kind: "leftover" };
  };

  const entries = listed.map(judge).map((entry): PruneEntry => {
    if (entry.keep || !reserved.has(entry.name)) return entry;
    return { ...entry, keep: true, because: RESTORED };
  });
  const ended = expired.map((name): PruneEntry => {
    const because = "the restore that it protected has ended";
    return { name, kind: "reservation", txId: null, takenAt: null, bytes: 0, keep: false, because };
  });
  return [...entries, ...ended];
}

/** Removes the items that a plan does not keep. Failures are reported and do not prevent the removal of the rest. */
export async function prune(store: CheckpointStore, plan: readonly PruneEntry[]): Promise<PruneReport> {
  const entries = [...plan];
  const removed: PruneEntry[] = [];
  const failed: { name: string; error: CairnError }[] = [];
  for (const [at, entry] of plan.entries()) {
    if (entry.keep) continue;
    const { name, kind, marked } = entry;
    try {
      let spared: string | undefined;
      if (kind === "reservation") await store.remove(name);
      else if (kind === "leftover") await removeLeftovers(store, name);
      else spared = await removeCheckpoint(store, name, marked);
      if (spared === undefined) removed.push(entry);
      else entries[at] = { ...entry, keep: true, because: spared };
    } catch (error) {
      if (!isCairnError(error)) throw error;
      failed.push({ name, error });
    }
  }
  return { entries, removed, failed };
}

/**
 * Removes a checkpoint in such an order that it is never listed while incomplete. Returns why it stays if a node is
 * restoring it or, unless it was `marked` before, has verified it: the decision to remove it may be minutes old.
 */
export async function removeCheckpoint(
  store: CheckpointStore,
  name: string,
  marked = false,
): Promise<string | undefined> {
  // The mark is written while the reservation holds, so one of them is found in this order.
  if ((await readReservations(store)).reserved.has(name)) return RESTORED;
  if (!marked && (await store.read(checkpointFile(name, "verified"))) !== undefined)
    return "it has just been verified";
  // The manifest is removed first, so that a reader that still finds it can rely on the archive.
  await store.remove(checkpointFile(name, "manifest"));
  // A restore creates its reservation before it reads the manifest again: it either finds the manifest missing, or its
  // reservation is visible here and keeps the archive.
  if (!(await readReservations(store)).reserved.has(name)) await removeLeftovers(store, name);
  return undefined;
}

/** Removes the archive and the marks of a checkpoint that has no manifest. */
export async function removeLeftovers(store: CheckpointStore, name: string): Promise<void> {
  await store.remove(checkpointFile(name, "verified"));
  await store.remove(checkpointFile(name, "damaged"));
  await store.remove(checkpointFile(name, "archive"));
}

/**
 * Returns the names of checkpoints whose archives have no manifest, have not been written to for `graceMs` (default: an
 * hour), and are not being uploaded.
 */
async function deadArchives(
  store: CheckpointStore,
  listed: readonly CheckpointFiles[],
  graceMs = ORPHAN_GRACE_MS,
): Promise<string[]> {
  const candidates = listed.filter((files) => files.manifest === undefined);
  if (candidates.length === 0) return [];
  const before = (await store.now()) - graceMs;
  const uploading = (await readLeases(store)).flatMap(({ live, record }) => (live ? [record.archive] : []));
  return candidates
    .filter(({ name, archive, verified, damaged }) => {
      const modifiedAt = Math.max(...[archive, verified, damaged].map((file) => file?.modifiedAt ?? 0));
      return modifiedAt < before && !uploading.includes(checkpointFile(name, "archive"));
    })
    .map(({ name }) => name);
}

type Decision = Pick<RetentionDecision, "keep" | "because">;

/**
 * Checkpoints of other logs, of a lost history, and damaged ones are removed only on request, and only if enough others
 * remain: of `kept`, those of this log that can be restored.
 */
function decideUsable(
  { logId, otherLogs, lost, damaged, policy }: PruneOptions,
  own: OwnDecision | undefined,
  kept: number,
): Decision {
  const least = policy?.retainAtLeast ?? 1;
  // A log that continues another one needs a checkpoint of that log until it has its own.
  if (own === undefined) {
    const isAsked = otherLogs === true && logId !== undefined;
    return onRequest(isAsked, "it belongs to another log", kept >= least, "of this one");
  }
  const { keep, because } = own;
  // Instead of one of a lost history, which no node can join from, one is enough.
  if (own.isLost === true) return onRequest(lost === true, because, kept >= 1, "of this one");
  if (!keep) return { keep, because };
  // The damage may be in the node that found it, for example in its disk.
  if (own.damaged === true)
    return onRequest(damaged === true, "it was found damaged", kept >= least, "others");
  return damaged === true && policy === undefined
    ? { keep, because: `${because}, and it is not known to be damaged` }
    : { keep, because };
}

function onRequest(isAsked: boolean, because: string, isEnough: boolean, rest: string): Decision {
  return isAsked && !isEnough
    ? { keep: true, because: `${because}, and there are too few ${rest} to restore from` }
    : { keep: !isAsked, because };
}

/** The codes of errors that say nothing about the checkpoint itself: another process may be able to use it. */
const NOT_DAMAGE = new Set<string>(["STORE_DENIED", "KEY_MISSING", "PLAIN_REFUSED"]);

function decideDamaged({ damaged }: PruneOptions, { code }: CairnError, unwrittenMs: number): Decision {
  const because = `it cannot be used (${code})`;
  if (damaged !== true || NOT_DAMAGE.has(code)) return { keep: true, because };
  // A checkpoint that is being copied cannot be distinguished from a damaged one.
  return unwrittenMs < DAMAGE_GRACE_MS
    ? { keep: true, because: `${because}, but was written to within the last hour` }
    : { keep: false, because };
}
