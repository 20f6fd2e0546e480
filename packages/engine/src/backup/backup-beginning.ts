import type { CheckpointListing, CheckpointStore } from "@cairn/checkpoint";
import type { TxId } from "@cairn/client";
import { CairnError } from "@cairn/kv";
import type { BirthRecord } from "../transactions/birth-record.ts";
import { BackupLog } from "./backup-log.ts";
import { EarlierLogs } from "./earlier-logs.ts";
import { listBackup } from "./segments/segment-name.ts";
import {
  type BackupProblem,
  type VerifiedSegments,
  verifySegments,
  type VerifySegmentsOptions,
} from "./write/verify-backup.ts";

/** There is at least one run of transactions in `covered`. */
interface BeginningOptions extends Pick<VerifiedSegments, "covered" | "agreeing"> {
  readonly store: CheckpointStore;
  readonly logId: string;
  /** The checkpoints in the store, whichever log they belong to, newest first. */
  readonly checkpoints: readonly Pick<CheckpointListing, "name" | "anchor" | "log">[];
}

/**
 * Verifies the segments of a backup, and how it begins; `beginning` is null if the backup is empty, or if not all of it
 * can be read with these keys. `checkpoints` are all those in the store, newest first.
 */
export async function verifyBackup(
  options: Omit<VerifySegmentsOptions, "checkpoints"> & Pick<BeginningOptions, "checkpoints">,
  onProblem: (problem: BackupProblem) => Promise<void>,
) {
  const { store, logId, checkpoints } = options;
  const ofLog = checkpoints.filter((one) => one.log.id === logId);
  const { isLocked, ...found } = await verifySegments({ ...options, checkpoints: ofLog }, onProblem);
  if (found.covered.length === 0 || isLocked) return { ...found, beginning: null };
  const { problems, ...beginning } = await findBeginning({ store, logId, checkpoints, ...found });
  for (const error of problems) await onProblem({ file: null, error });
  return { ...found, beginning };
}

/**
 * Determines with which transaction a backup begins and why (because the log does, or because a file records that what
 * precedes was removed), and which earlier log's beginning it lacks. If it lacks any, a checkpoint must lead into it.
 */
async function findBeginning(options: BeginningOptions) {
  const { store, logId, covered } = options;
  const first = covered[0]?.first ?? 1;
  const backup = new BackupLog({ store, logId });
  const offset = (await backup.offset()) ?? 0;
  const begins = (await listBackup(store, logId)).begins;
  const last = covered.at(-1)?.last ?? first;
  const problems = begins
    .filter(({ txId }) => txId > last + 1)
    .map(({ name }) => {
      const message = `According to ${name}, the log backup begins after its last transaction, ${last}.`;
      const hint = "Remove the file, or restore its name if it was renamed.";
      return new CairnError("SEGMENT_CORRUPT", message, hint);
    });
  const birth = first === offset + 1 ? await backup.birth() : undefined;
  const earlier = new EarlierLogs([store]);
  const isWhole = (await earlier.all(birth)) !== undefined;
  const lacksEarlier = isWhole ? null : (birth?.continues?.log ?? null);
  const checkpoint = isWhole ? null : ((await leadingCheckpoint(options, first, birth, earlier)) ?? null);
  if (!isWhole && checkpoint === null) {
    const message = `The log backup in ${store.location} begins with transaction ${first}, and no checkpoint there leads into it, so nothing can be restored from it.`;
    const hint =
      "Save a checkpoint on a ready node: cairn checkpoint create --url URL (the address of that node).";
    problems.push(new CairnError("LOG_GAP", message, hint));
  }
  const because = first === offset + 1 ? "log" : "removed";
  return { first, because, lacksEarlier, checkpoint, problems };
}

/** Returns the newest checkpoint that this backup or the backup of an earlier log continues. */
async function leadingCheckpoint(
  { checkpoints, agreeing, logId }: BeginningOptions,
  first: TxId,
  birth: BirthRecord | undefined,
  earlier: EarlierLogs,
): Promise<string | undefined> {
  for (const { name, log, anchor } of checkpoints) {
    if (log.id === logId && (agreeing.includes(name) || anchor.txId === first - 1)) return name;
    if (log.id === logId || birth === undefined) continue;
    const { txId, sha256 } = anchor;
    if ((await earlier.wayFrom({ logId: log.id, txId, sha256 }, birth)) !== undefined) return name;
  }
  return undefined;
}
