import path from "node:path";
import { pathToFileURL } from "node:url";
import { type CheckpointStore, parseCheckpointName } from "@cairn/checkpoint";
import { CairnError } from "@cairn/kv";
import type { NodeStatus, TxId } from "@cairn/client";
import type { IndexState } from "../index/rows/index-state.ts";
import type { LogIdentity } from "../log/log-identity.ts";
import type { LogBackupSource, TxLog } from "../log/tx-log.ts";
import type { System } from "../api/system.ts";
import { restoreStores } from "../checkpoints/checkpoint-stores.ts";

type Join = NodeStatus["join"];

/**
 * Returns the error for a local index that was built from another log and cannot be continued with this one. If this
 * log continues the other one, `last` is the last transaction of the other log that belongs to this log's history.
 */
export function foreignIndex(
  { id, name, birth }: LogIdentity,
  { log, txId }: IndexState,
  last: TxId | undefined,
): CairnError {
  if (last === undefined) {
    const over =
      birth?.continues === undefined
        ? ""
        : `If this log continues log ${log.id} over others, which nothing in the stores of this node shows, save a checkpoint in one of them on a ready node (cairn checkpoint create --url URL, the address of that node), and restart this node: it then continues without a loss. `;
    return new CairnError(
      "LOG_DIFFERENT",
      `The local index was built from the log ${log.id}, but "${name}" is the log ${id}.`,
      `Check the log's address and name. ${over}If the log was replaced on purpose, set ` +
        '"on-log-mismatch": {"different": "rebuild"}, which moves the index aside; ' +
        `\`cairn log orphans --log ${log.id}\` then prints what only the index contains. Nothing was deleted.`,
    );
  }
  const where = txId > last ? `at transaction ${txId}` : "in a different history";
  // For this index, a log that continues from an earlier transaction is the same as a log that has lost its end.
  return new CairnError(
    "LOG_REGRESSED",
    `The log "${name}" continues log ${log.id} after transaction ${last}; the local index of that log ends ${where}.`,
    'Set "on-log-mismatch": {"regressed": "rebuild"} to move the index aside and join from a checkpoint at or before that ' +
      "transaction; `cairn log orphans` then prints what only the index contains. Nothing was deleted.",
  );
}

/** Returns the reason why an index of a log that this one continues after `last`, if known, cannot be continued. */
export function indexBehind(
  { name }: LogIdentity,
  { log, txId }: IndexState,
  last: TxId | undefined,
): CairnError {
  const where = last === undefined ? "over others" : `after transaction ${last}`;
  return new CairnError(
    "LOG_TRIMMED",
    `The log "${name}" continues log ${log.id} ${where}; the local index of that log ends at transaction ${txId}, and no log backup leads from there.`,
  );
}

/** Returns the error if neither the log, a checkpoint nor a log backup has the beginning of an index. */
export function noBeginning(
  { backup }: Pick<TxLog, "backup">,
  identity: LogIdentity,
  join: Pick<Join, "skipped" | "movedAside">,
  stores: readonly CheckpointStore[],
): CairnError {
  const continues = identity.birth?.continues;
  if (continues === undefined)
    return backup === undefined
      ? nothingToRestore(identity, join, stores)
      : backupAlone(backup, identity, stores);
  const { log, anchor } = continues;
  const skipped = join.skipped.length;
  return new CairnError(
    "LOG_TRIMMED",
    `The log "${identity.name}" continues log ${log}, and no usable checkpoint or log backup leads to its transaction ${anchor.txId}.`,
    skipped > 0
      ? `Run cairn status, which shows why the ${skipped} checkpoints that were found cannot be used (in /status: join.skipped).`
      : "Configure the checkpoint store (restore-from) that holds the checkpoint or the log backup from which `cairn log recover` began it.",
  );
}

/** A node that reads a backup cannot know whether the log still holds what is missing there. */
function backupAlone(
  { location }: LogBackupSource,
  { bounds }: LogIdentity,
  stores: readonly CheckpointStore[],
): CairnError {
  return new CairnError(
    "LOG_TRIMMED",
    `The log backup in ${location} lacks transactions before message ${bounds.first}, and no usable checkpoint holds them.`,
    `${placesLookedAt(stores)}save a checkpoint on a ready node of this log: cairn checkpoint create --url URL (the address of that node). This node keeps searching, and continues by itself. cairn log backup verify shows what the backup lacks, and whether a node writes it again.`,
  );
}

/** The log's beginning was removed and is in no usable checkpoint. Names its newest unusable one, if any. */
function nothingToRestore(
  { name, bounds }: LogIdentity,
  { skipped, movedAside }: Pick<Join, "skipped" | "movedAside">,
  stores: readonly CheckpointStore[],
): CairnError {
  // The list is ordered from newest to oldest. Checkpoints of other logs never contained the beginning, and unreachable
  // stores are listed without a name.
  const newest = skipped.find((one) => one.name !== "" && one.code !== "LOG_DIFFERENT");
  // Without a message before it, nothing shows which transaction it is.
  const missing = `messages before its message ${bounds.first}`;
  const other = movedAside.find(({ code }) => code === "INDEX_VERSION");
  const kept =
    other === undefined
      ? ""
      : `This node's index, which another version of Cairn built, is kept in ${other.path}. That version can use it. `;
  const retries = ` Or save a checkpoint on a ready node of this log: cairn checkpoint create --url URL (the address of that node). This node keeps searching, and continues by itself. If nothing holds these transactions any more, accept their loss: stop all writers, remove the log (nats stream rm ${name}; embedded: stop the node and move the log's folder away), and continue with the newest checkpoint: cairn log recover.`;
  const sentence = `The log "${name}" no longer holds the ${missing}, and no usable checkpoint does.`;
  if (newest === undefined) {
    return new CairnError(
      "LOG_TRIMMED",
      sentence,
      `${kept}${placesLookedAt(stores)}restore the log.${retries}`,
    );
  }
  const upTo = parseCheckpointName(newest.name)?.txId;
  const cure =
    newest.code === "INDEX_VERSION"
      ? "Another version of Cairn wrote that checkpoint: run that version, restore the log, or configure another store that holds "
      : "Restore that checkpoint's files or the log's, or configure another store that holds ";
  return new CairnError(
    "LOG_TRIMMED",
    `${sentence} Transactions up to ${upTo} were last in ${newest.name} of ${newest.store} (${newest.code}: ${newest.message})`,
    `${kept}${cure}this log's checkpoints (restore-from). ` +
      `cairn status lists all checkpoints that were found (in /status: join.skipped).${retries}`,
  );
}

/** An unmounted folder cannot be distinguished from an empty one, except by an operator who knows the name. */
function placesLookedAt(stores: readonly CheckpointStore[]): string {
  if (stores.length === 0) return "Or ";
  const places = stores.map((store) => store.identity ?? store.location).join(" and in ");
  return `No checkpoint of this log was found in ${places}: check that the place is correct and mounted. Configure the checkpoint store that holds this log's checkpoints, or `;
}

/** Other nodes' checkpoints are the cure of these errors, so without a common store, the first step is to have one. */
export function withStoreFirst(error: CairnError, system: System, log: TxLog | undefined): CairnError {
  const { code, message, hint = "", cause } = error;
  const own = pathToFileURL(`${system.dir}${path.sep}`).href;
  const isAlone = restoreStores(system).every(({ location }) => location.startsWith(own));
  // The only node of a log needs the log's files.
  if (!isAlone || log === undefined || log.hasOneWriter === true) return error;
  if (code !== "LOG_TRIMMED" && code !== "LOG_GAP") return error;
  const first =
    "This node has no checkpoint store in common with other nodes: configure one that all nodes of this log share (CAIRN_CHECKPOINT_PATH=FOLDER, or checkpointer of the kv-store in cairn/index-store), and restart the nodes.";
  return new CairnError(code, message, { hint: `${first} ${hint}`, cause });
}
