import type { CheckpointListing, CheckpointStore } from "@cairn/checkpoint";
import type { TxId } from "@cairn/client";
import { CairnError } from "@cairn/kv";
import type { TxLog } from "../log/tx-log.ts";
import type { BirthRecord } from "../transactions/birth-record.ts";
import { BackupLog } from "./backup-log.ts";
import { EarlierLogs } from "./earlier-logs.ts";
import { listBackup, type TxRange } from "./segments/segment-name.ts";

/** Options for {@link findBeginning}. */
export interface BeginningOptions {
  readonly store: CheckpointStore;
  readonly logId: string;
  /** The log itself, if it is at hand. */
  readonly log: Pick<TxLog, "bounds"> | undefined;
  /** What the backup's whole segments hold; at least one run. */
  readonly covered: readonly TxRange[];
  /** The checkpoints of the store, of any log, newest first. */
  readonly checkpoints: readonly Pick<CheckpointListing, "name" | "anchor" | "log">[];
  /** The names of those whose last transaction is in the backup, as it is in the checkpoint. */
  readonly agreeing: readonly string[];
}

/** Where a backup begins, and what an index that is built from it begins with. */
export interface BackupBeginning {
  readonly first: TxId;
  /** Why it begins there: with the log itself, or because a file notes that what came before was removed; "unknown" if neither. */
  readonly because: "log" | "removed" | "unknown";
  /** The log that this one continues, if its backup does not go back to the beginning. */
  readonly lacksEarlier: string | null;
  /** The checkpoint with which an index begins; null if it begins empty, or if nothing leads into the backup: see `problems`. */
  readonly checkpoint: string | null;
  readonly problems: readonly CairnError[];
}

/**
 * Finds out how a backup begins. A backup need not go back to the beginning of its log; but then something must lead into it, and where
 * nothing says that earlier segments were removed on purpose, nodes write them again as long as the log holds them.
 */
export async function findBeginning(options: BeginningOptions): Promise<BackupBeginning> {
  const { store, logId, log, covered } = options;
  const first = covered[0]?.first ?? 1;
  const backup = new BackupLog({ store, logId });
  const offset = (await backup.offset()) ?? 0;
  const begins = (await listBackup(store, logId)).begins;
  const last = covered.at(-1)?.last ?? first;
  const problems = begins.filter(({ txId }) => txId > last + 1).map(({ name }) => misnamed(name, last));
  const isNoted = begins.length > problems.length;
  const birth = first === offset + 1 ? await backup.birth() : undefined;
  const earlier = new EarlierLogs([store]);
  const isWhole = (await earlier.all(birth)) !== undefined;
  const lacksEarlier = isWhole ? null : (birth?.continues?.log ?? null);
  const checkpoint = isWhole ? null : ((await leadingCheckpoint(options, first, birth, earlier)) ?? null);
  if (!isWhole && checkpoint === null) problems.push(unusable(store, first));
  const because = first === offset + 1 ? "log" : isNoted ? "removed" : "unknown";
  const inLog = log === undefined ? first : (await log.bounds()).first + offset;
  if (because === "unknown" && inLog < first)
    problems.push(unnoted(store, { first: inLog, last: first - 1 }));
  return { first, because, lacksEarlier, checkpoint, problems };
}

/** Returns the newest checkpoint that is continued by the backup, or by the backups of the logs before it. */
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

/** Returns `SEGMENT_CORRUPT`: a file notes a beginning that no removal can have noted. */
function misnamed(name: string, last: TxId): CairnError {
  return new CairnError(
    "SEGMENT_CORRUPT",
    `${name} says that the log backup begins there, but the backup ends with transaction ${last}.`,
    { hint: "Remove the file. If it was renamed, give it its name again." },
  );
}

/** Returns `LOG_GAP`: nothing leads into the backup. */
function unusable({ location }: CheckpointStore, first: TxId): CairnError {
  return new CairnError(
    "LOG_GAP",
    `The log backup in ${location} begins with transaction ${first}, and no checkpoint there leads into it, so nothing can be restored from it.`,
    { hint: "Let a ready node save a checkpoint: cairn checkpoint create." },
  );
}

/** Returns `LOG_GAP`: the backup lacks what the log still holds at the beginning. */
function unnoted({ location }: CheckpointStore, { first, last }: TxRange): CairnError {
  const what = first === last ? `Transaction ${first} is` : `Transactions ${first} to ${last} are`;
  return new CairnError(
    "LOG_GAP",
    `${what} missing at the beginning of the log backup in ${location}, and no .begin file says that they were removed on purpose.`,
    {
      hint: `The log still holds them, so that the next look of a node writes them again. If they were removed on purpose, remove them again after that: cairn log backup prune --through ${last}.`,
    },
  );
}
