import { type CairnError, isCairnError } from "@cairn/kv";
import type { CheckpointSource } from "../store/checkpoint-source.ts";
import type { CheckpointStore } from "../store/checkpoint-store.ts";
import type { Manifest } from "../store/checkpoint.ts";
import {
  checkpointFiles,
  type CheckpointFiles,
  readCheckpoints,
  type SkippedCheckpoint,
  type StoredCheckpoint,
} from "../store/list-checkpoints.ts";
import { readReservations } from "../store/reservations.ts";
import {
  decideRetention,
  type RetainedCheckpoint,
  type RetentionDecision,
  type RetentionPolicy,
} from "./retention.ts";
import { deadArchives, ownCheckpoints, removeCheckpoint, removeLeftovers } from "./sweep.ts";

/** Options for pruning a store. No node needs to be running. */
export interface PruneOptions {
  readonly store: CheckpointStore;
  /** The log to which the policy applies. If it is absent, every checkpoint is kept. */
  readonly logId?: string;
  readonly policy?: RetentionPolicy | undefined;
  /** The format that nodes of this version can restore. */
  readonly format: NonNullable<CheckpointSource["format"]>;
  /** Without it, the log was not consulted, and the newest checkpoints both by time and by transaction are kept. */
  readonly agrees?: (manifest: Manifest) => Promise<boolean>;
  /** Whether checkpoints of other logs are removed once there are enough of this one. Defaults to false. */
  readonly otherLogs?: boolean;
  /** Whether checkpoints with transactions that the log lost are removed once enough agree. Defaults to false. */
  readonly lost?: boolean;
  /**
   * Whether unusable checkpoints are removed an hour after the last write, and this log's damaged ones once there are
   * enough others. Defaults to false.
   */
  readonly damaged?: boolean;
}

/** `bytes` is the size of its archive; `txId` and `takenAt` come from its name. */
export interface PruneEntry extends RetentionDecision {
  readonly kind: "checkpoint" | "damaged" | "leftover" | "reservation";
  readonly txId: number | null;
  readonly takenAt: string | null;
  readonly bytes: number;
  /** The log of the checkpoint; undefined if no valid manifest names it. */
  readonly log?: { readonly id: string; readonly name: string };
}

export interface PruneReport {
  readonly removed: readonly PruneEntry[];
  readonly failed: readonly { readonly name: string; readonly error: CairnError }[];
}

const LOST = "it holds transactions that the log lost";
const DAMAGE_GRACE_MS = 3_600_000;

/** Lists checkpoints, newest first, and then expired reservations. Changes nothing. */
export async function planPrune(options: PruneOptions): Promise<PruneEntry[]> {
  const { store } = options;
  const listed = await checkpointFiles(store);
  const { reserved, expired } = await readReservations(store);
  const dead = new Set(await deadArchives(store, listed));
  const usable: StoredCheckpoint[] = [];
  const unusable = new Map<string, SkippedCheckpoint>();
  for await (const found of readCheckpoints(store, listed)) {
    if ("error" in found) unusable.set(found.name, found);
    else usable.push({ ...found, manifest: { ...found.manifest, files: [] } });
  }
  const now = await store.now();
  const own = await decideOwn(options, usable, now);
  const kept = [...own.values()].filter(({ keep, current }) => keep && current).length;
  const enough = kept >= (options.policy?.retainAtLeast ?? 1);
  const found = new Map(usable.map((checkpoint) => [checkpoint.name, checkpoint]));

  const judge = (files: CheckpointFiles): PruneEntry => {
    const { name, parsed, archive } = files;
    const entry = { name, txId: parsed.txId, takenAt: new Date(parsed.takenAt).toISOString() };
    const bytes = archive?.bytes ?? 0;
    const checkpoint = found.get(name);
    if (checkpoint !== undefined) {
      const { id, name: logName } = checkpoint.manifest.log;
      const decision = decideUsable(options, own.get(name), enough);
      const kind = checkpoint.damaged ? "damaged" : "checkpoint";
      return { ...entry, bytes, ...decision, name, kind, log: { id, name: logName } };
    }
    const broken = unusable.get(name);
    if (broken !== undefined) {
      const writtenAt = Math.max(archive?.modifiedAt ?? 0, files.manifest?.modifiedAt ?? 0);
      return { ...entry, bytes, ...decideDamaged(options, broken.error, now - writtenAt), kind: "damaged" };
    }
    const because = dead.has(name)
      ? "it has no manifest, and has not been written to for an hour"
      : "it has no manifest; a node may be writing it";
    return { ...entry, bytes, keep: !dead.has(name), because, kind: "leftover" };
  };

  const entries = listed.map(judge).map((entry): PruneEntry => {
    if (entry.keep || !reserved.has(entry.name)) return entry;
    return { ...entry, keep: true, because: "a node is restoring it" };
  });
  const ended = expired.map((name): PruneEntry => {
    const because = "the restore that it protected has ended";
    return { name, kind: "reservation", txId: null, takenAt: null, bytes: 0, keep: false, because };
  });
  return [...entries, ...ended];
}

/** Removes the items that a plan does not keep. Failures are reported and do not prevent the removal of the rest. */
export async function prune(store: CheckpointStore, plan: readonly PruneEntry[]): Promise<PruneReport> {
  const removed: PruneEntry[] = [];
  const failed: { name: string; error: CairnError }[] = [];
  for (const entry of plan) {
    if (entry.keep) continue;
    const { name, kind } = entry;
    try {
      if (kind === "reservation") await store.remove(name);
      else if (kind === "leftover") await removeLeftovers(store, name);
      else await removeCheckpoint(store, name);
      removed.push(entry);
    } catch (error) {
      if (!isCairnError(error)) throw error;
      failed.push({ name, error });
    }
  }
  return { removed, failed };
}

type Decision = Pick<RetentionDecision, "keep" | "because">;
type OwnDecision = Decision & {
  /** Whether nodes of this version can restore it. */
  readonly current: boolean;
  readonly isLost?: boolean;
  readonly damaged?: boolean;
};

/** Decides about the checkpoints of a log among `usable`, newest first. */
export async function decideOwn(
  options: Pick<PruneOptions, "store" | "logId" | "policy" | "agrees" | "format">,
  usable: readonly StoredCheckpoint[],
  now: number,
): Promise<Map<string, OwnDecision>> {
  const { store, logId, policy, agrees, format } = options;
  const { own, lost } = await ownCheckpoints(usable, { store, logId, format, agrees });
  const decisions = new Map<string, OwnDecision>();
  for (const name of lost) {
    decisions.set(name, { keep: true, because: LOST, current: false, isLost: true });
  }
  const byTime = new Set(agrees === undefined ? newestByTime(own, policy) : []);
  for (const [at, { name, keep, because }] of decideRetention(own, policy, now).entries()) {
    const damaged = own[at]?.damaged === true;
    const current = own[at]?.current === true && !damaged;
    const spared = !keep && byTime.has(name);
    const why = "it is one of the last saved, and was not compared with the log";
    decisions.set(name, { keep: keep || spared, because: spared ? why : because, current, damaged });
  }
  return decisions;
}

/** After a log has lost its end, ordering by transaction would make its new checkpoints appear to be the oldest. */
function newestByTime(judged: readonly RetainedCheckpoint[], policy: RetentionPolicy | undefined): string[] {
  return judged
    .filter(({ current, damaged }) => current && damaged !== true)
    .toSorted((a, b) => b.takenAt - a.takenAt)
    .slice(0, policy?.retainAtLeast ?? 1)
    .map(({ name }) => name);
}

/** Checkpoints of other logs or a lost history are removed only on request, and only if enough others remain. */
function decideHistory(
  { logId, otherLogs, lost }: PruneOptions,
  own: OwnDecision | undefined,
  enough: boolean,
): Decision {
  if (own !== undefined && own.isLost !== true) return { keep: own.keep, because: own.because };
  const because = own === undefined ? "it belongs to another log" : LOST;
  const asked = own === undefined ? otherLogs === true && logId !== undefined : lost === true;
  // A log that continues another one needs a checkpoint of that log until it has its own.
  return asked && !enough
    ? { keep: true, because: `${because}, and there are too few of this one to restore from` }
    : { keep: !asked, because };
}

function decideUsable(options: PruneOptions, own: OwnDecision | undefined, enough: boolean): Decision {
  const decision = decideHistory(options, own, enough);
  if (!decision.keep || own === undefined || own.isLost === true) return decision;
  if (own.damaged === true) {
    const because = "it was found damaged";
    // The damage may be in the node that found it, for example in its disk.
    return options.damaged === true && !enough
      ? { keep: true, because: `${because}, and there are too few others to restore from` }
      : { keep: options.damaged !== true, because };
  }
  return options.damaged === true && options.policy === undefined
    ? { keep: true, because: `${decision.because}, and it is not known to be damaged` }
    : decision;
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
