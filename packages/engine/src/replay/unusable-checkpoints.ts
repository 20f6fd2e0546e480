import { type CheckpointStore, parseCheckpointName, type SkippedCheckpoint } from "@cairn/checkpoint";
import type { TxId } from "@cairn/client";
import { CairnError } from "@cairn/kv";
import { isoTime } from "@cairn/text";
import type { Candidates } from "../checkpoints/candidates.ts";

interface Sought {
  readonly logId: string;
  readonly at?: { readonly txId: TxId } | { readonly time: number } | undefined;
}

/** Returns whether a checkpoint that cannot be used may be of the log, and ends at or before the point. */
export function mayLead({ name, logId }: SkippedCheckpoint, { at, logId: wanted }: Sought): boolean {
  const last = at !== undefined && "txId" in at ? at.txId : Infinity;
  return (logId ?? wanted) === wanted && endOf({ name }) <= last;
}

export function endOf({ name }: Pick<SkippedCheckpoint, "name">): TxId {
  return parseCheckpointName(name)?.txId ?? 0;
}

export function nothingLeadsTo(
  sought: Sought & { readonly stores: readonly CheckpointStore[] },
  { usable, skipped }: Candidates,
  backup: { readonly last: TxId; readonly locked: CairnError | undefined } | undefined,
  continued: string | undefined,
): CairnError {
  const { stores, at, logId } = sought;
  const where = stores.map(({ location }) => location).join(" or ");
  const point =
    at === undefined ? "" : ` that leads to ${"txId" in at ? `transaction ${at.txId}` : isoTime(at.time)}`;
  const oldestOf = (id: string | undefined) => usable.findLast(({ log }) => log.id === id);
  const oldest = oldestOf(continued) ?? oldestOf(logId);
  const other =
    oldest !== undefined
      ? `Choose a later point: the oldest checkpoint is ${oldest.name}, which ends with transaction ${oldest.txId} at ${oldest.txTime}.`
      : backup !== undefined
        ? `Run cairn log backup status, which shows where the complete part of the log backup begins. It ends at transaction ${backup.last}.`
        : undefined;
  const message = `There is no usable checkpoint or log backup in ${where}${point}`;
  const unusable = skipped.find((one) => mayLead(one, sought));
  const { name, error } = unusable ?? { name: "The beginning of the log backup", error: backup?.locked };
  if (error === undefined) return new CairnError("CHECKPOINT_NOT_FOUND", `${message}.`, other ?? LOOK);
  const because = `${name} cannot be used (${error.code}): ${error.message}`;
  const hints = [error.hint, other].filter((one) => one !== undefined);
  return new CairnError("CHECKPOINT_NOT_FOUND", `${message}. ${because}`, hints.join(" Otherwise: ") || LOOK);
}

const LOOK = "Check the store: cairn checkpoint list and cairn log backup status show its content.";
