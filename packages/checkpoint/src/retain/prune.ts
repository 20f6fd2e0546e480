import { isCairnError } from "@cairn/kv";
import type { CairnError } from "@cairn/kv";
import type { Manifest } from "../store/checkpoint.ts";
import type { CheckpointSource } from "../store/checkpoint-source.ts";
import { isCurrentFormat } from "../store/checkpoint-source.ts";
import type { CheckpointStore } from "../store/checkpoint-store.ts";
import { checkpointFiles, readCheckpoints } from "../store/list-checkpoints.ts";
import type { CheckpointFiles, SkippedCheckpoint, StoredCheckpoint } from "../store/list-checkpoints.ts";
import { readReservations } from "../store/reservations.ts";
import { decideRetention, type RetentionPolicy } from "./retention.ts";
import type { RetainedCheckpoint, RetentionDecision } from "./retention.ts";
import { deadArchives, removeCheckpoint, removeLeftovers } from "./sweep.ts";
import { OtherHistories } from "./other-histories.ts";
import { readVerification } from "../store/verification.ts";

/** What a person asks to be removed from a store, which no node need be running for. */
export interface PruneOptions {
  readonly store: CheckpointStore;
  /** The log that the policy is for; without one every checkpoint stays. */
  readonly logId?: string;
  readonly policy?: RetentionPolicy;
  /** What nodes of this version restore. */
  readonly format: NonNullable<CheckpointSource["format"]>;
  /** As in {@link CheckpointSource}. Left out, the log was not asked: then the newest by time stay as well as the newest by transaction. */
  readonly agrees?: (manifest: Manifest) => Promise<boolean>;
  /** Checkpoints of other logs go, once there are enough of this one. */
  readonly otherLogs?: boolean;
  /** Checkpoints that hold what the log lost go, once there are enough of those that agree with it. */
  readonly lost?: boolean;
  /** Checkpoints that cannot be used go, once nobody has written to them for an hour. */
  readonly damaged?: boolean;
}

/** Something in a store that may go. `bytes` is its archive's size; `txId` and `takenAt` are as its name says. */
export interface PruneEntry extends RetentionDecision {
  readonly kind: "checkpoint" | "damaged" | "leftover" | "reservation";
  readonly txId: number | null;
  readonly takenAt: string | null;
  readonly bytes: number;
  /** Undefined where its manifest does not say. */
  readonly log?: { readonly id: string; readonly name: string };
}

/** What pruning did. */
export interface PruneReport {
  readonly removed: readonly PruneEntry[];
  readonly failed: readonly { readonly name: string; readonly error: CairnError }[];
}

const LOST = "it holds transactions that the log lost";
const DAMAGE_GRACE_MS = 3_600_000;

/** What would go from a store and what would stay, newest first, each with why. Changes nothing. */
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
  const enough = enoughToRestore(options, own);
  const found = new Map(usable.map((checkpoint) => [checkpoint.name, checkpoint]));

  const judge = (files: CheckpointFiles): PruneEntry => {
    const { name, parsed, archive } = files;
    const entry = { name, txId: parsed.txId, takenAt: new Date(parsed.takenAt).toISOString() };
    const bytes = archive?.bytes ?? 0;
    const checkpoint = found.get(name);
    if (checkpoint !== undefined) {
      const { id, name: logName } = checkpoint.manifest.log;
      const decision = decideHistory(options, own.get(name), enough);
      return { ...entry, bytes, ...decision, name, kind: "checkpoint", log: { id, name: logName } };
    }
    const broken = unusable.get(name);
    if (broken !== undefined) {
      const writtenAt = Math.max(archive?.modifiedAt ?? 0, files.manifest?.modifiedAt ?? 0);
      return { ...entry, bytes, ...decideDamaged(options, broken.error, now - writtenAt), kind: "damaged" };
    }
    const because = dead.has(name)
      ? "it has no manifest, and nobody has written to it for an hour"
      : "it has no manifest; somebody may be writing it";
    return { ...entry, bytes, keep: !dead.has(name), because, kind: "leftover" };
  };

  const entries = listed.map(judge).map((entry): PruneEntry => {
    if (entry.keep || !reserved.has(entry.name)) return entry;
    return { ...entry, keep: true, because: "somebody is restoring it" };
  });
  const ended = expired.map((name): PruneEntry => {
    const because = "the restore that it was for has ended";
    return { name, kind: "reservation", txId: null, takenAt: null, bytes: 0, keep: false, because };
  });
  return [...entries, ...ended];
}

/** Removes what a plan says goes. What cannot be removed is told, and the rest goes all the same. */
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
type OwnDecision = Decision & { readonly current: boolean; readonly isLost?: boolean };

async function decideOwn(
  options: PruneOptions,
  usable: readonly StoredCheckpoint[],
  now: number,
): Promise<Map<string, OwnDecision>> {
  const { store, logId, policy, agrees, format } = options;
  const decisions = new Map<string, OwnDecision>();
  const judged: RetainedCheckpoint[] = [];
  const others = new OtherHistories();
  // The newest first.
  for (const { name, manifest, verified } of usable) {
    if (manifest.log.id !== logId) continue;
    // Where the log was not asked, none is known to be the one that counts.
    if (agrees !== undefined && (others.contradict(manifest) || !(await agrees(manifest)))) {
      decisions.set(name, { keep: true, because: LOST, current: false, isLost: true });
      continue;
    }
    others.trust(manifest);
    judged.push({
      name,
      takenAt: Date.parse(manifest.takenAt),
      current: isCurrentFormat(format, manifest),
      verified: verified && (await readVerification(store, name, manifest.archive)) !== undefined,
    });
  }
  const byTime = new Set(agrees === undefined ? newestByTime(judged, policy) : []);
  for (const [at, { name, keep, because }] of decideRetention(judged, policy, now).entries()) {
    const current = judged[at]?.current === true;
    const spared = !keep && byTime.has(name);
    const why = "it is one of the last saved, and the log was not asked which of them agree with it";
    decisions.set(name, { keep: keep || spared, because: spared ? why : because, current });
  }
  return decisions;
}

/** A log that lost its end goes on with lower transactions: by their order alone its new checkpoints would look like the oldest. */
function newestByTime(judged: readonly RetainedCheckpoint[], policy: RetentionPolicy | undefined): string[] {
  return judged
    .filter(({ current }) => current)
    .toSorted((a, b) => b.takenAt - a.takenAt)
    .slice(0, policy?.retainAtLeast ?? 1)
    .map(({ name }) => name);
}

function enoughToRestore({ policy }: PruneOptions, own: ReadonlyMap<string, OwnDecision>): boolean {
  const kept = [...own.values()].filter(({ keep, current }) => keep && current).length;
  return kept >= (policy?.retainAtLeast ?? 1);
}

/** Of another history, a log's or another log's, nothing goes but on request, and never the last to restore from. */
function decideHistory(
  { logId, otherLogs, lost }: PruneOptions,
  own: OwnDecision | undefined,
  enough: boolean,
): Decision {
  if (own !== undefined && own.isLost !== true) return { keep: own.keep, because: own.because };
  const because = own === undefined ? "it belongs to another log" : LOST;
  const asked = own === undefined ? otherLogs === true && logId !== undefined : lost === true;
  // A log that continues another one needs that one's checkpoint until it has its own.
  return asked && !enough
    ? { keep: true, because: `${because}, and there are too few of this one to restore from` }
    : { keep: !asked, because };
}

function decideDamaged({ damaged }: PruneOptions, { code }: CairnError, unwrittenMs: number): Decision {
  const because = `it cannot be used (${code})`;
  if (damaged !== true || code === "STORE_DENIED") return { keep: true, because };
  // A copy that is under way looks just like a damaged checkpoint.
  return unwrittenMs < DAMAGE_GRACE_MS
    ? { keep: true, because: `${because}, but was written to within the hour` }
    : { keep: false, because };
}
