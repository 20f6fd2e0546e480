import { type CheckpointSource, isCurrentFormat } from "../store/checkpoint-source.ts";
import type { CheckpointStore } from "../store/checkpoint-store.ts";
import type { CheckpointListing } from "../store/list-checkpoints.ts";
import { readVerification } from "../store/verification.ts";
import {
  correctTimes,
  decideRetention,
  type RetainedCheckpoint,
  type RetentionDecision,
  type RetentionPolicy,
} from "./retention.ts";

const LOST = "it holds transactions that the log lost";

export interface OwnDecision extends Pick<RetentionDecision, "keep" | "because"> {
  readonly current: boolean;
  readonly isLost?: boolean;
  readonly damaged?: boolean;
}

/** The criteria by which the checkpoints of a log are recognized, and the policy that applies to them. */
export interface OwnLog {
  readonly store: CheckpointStore;
  readonly logId?: string;
  readonly policy?: RetentionPolicy | undefined;
  /** The format that nodes of this version can restore. */
  readonly format: CheckpointSource["format"];
  /** Without it, the log was not consulted, and the newest checkpoints both by time and by transaction are kept. */
  readonly agrees?: NonNullable<CheckpointSource["agrees"]>;
}

export async function decideOwn(
  log: OwnLog,
  usable: readonly CheckpointListing[],
  now: number,
): Promise<Map<string, OwnDecision>> {
  const { policy, agrees } = log;
  const { own: found, lost } = await ownCheckpoints(usable, log);
  const own = correctTimes(found, now);
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

/**
 * Returns a log's checkpoints among `found` (newest first), and the names of those whose history it lost. Each records
 * its history at the ends of older ones, so a lost history is recognized even after trimming.
 */
async function ownCheckpoints(
  found: readonly CheckpointListing[],
  { store, logId, format, agrees }: OwnLog,
): Promise<{ readonly own: RetainedCheckpoint[]; readonly lost: string[] }> {
  const own: RetainedCheckpoint[] = [];
  const lost: string[] = [];
  /** The values of the history chain in the checkpoints that count, by transaction. */
  const known = new Map<number, string>();
  for (const checkpoint of found) {
    const { name, log, chains, takenAt, damaged } = checkpoint;
    if (log.id !== logId) continue;
    const contradicts = chains.some(({ txId, history }) => (known.get(txId) ?? history) !== history);
    if (agrees !== undefined && (contradicts || !(await agrees(checkpoint, name)))) {
      lost.push(name);
      continue;
    }
    for (const { txId, history } of chains) known.set(txId, history);
    const verified = checkpoint.verified && (await readVerification(store, name, checkpoint)) !== undefined;
    const current = isCurrentFormat(format, checkpoint);
    own.push({ name, takenAt: Date.parse(takenAt), current, verified, damaged });
  }
  return { own, lost };
}
