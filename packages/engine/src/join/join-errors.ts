import path from "node:path";
import { pathToFileURL } from "node:url";
import { type CheckpointStore, parseCheckpointName } from "@cairn/checkpoint";
import { CairnError } from "@cairn/kv";
import type { NodeStatus, TxId } from "@cairn/client";
import type { IndexState } from "../index/rows/index-state.ts";
import type { LogIdentity } from "../log/log-identity.ts";
import type { TxLog } from "../log/tx-log.ts";
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
        '"on-log-mismatch": {"different": "rebuild"} in cairn/tx-log, which moves the index aside; ' +
        `\`cairn log orphans --log ${log.id}\` then prints what only the index contains. Nothing was deleted.`,
    );
  }
  const where = txId > last ? `at transaction ${txId}` : "in a different history";
  // For this index, a log that continues from an earlier transaction is the same as a log that has lost its end.
  return lostIndex(
    `The log "${name}" continues log ${log.id} after transaction ${last}; the local index of that log ends ${where}.`,
    "at or before that transaction",
  );
}

/** Returns the error for an index of a log that this one replaces, unless a checkpoint shows how it can be continued. */
export function replacedIndex({ name }: LogIdentity, { log, txId }: IndexState): CairnError {
  return lostIndex(
    `The log "${name}" replaces log ${log.id}; the local index of that log ends at transaction ${txId}.`,
    "of this log",
  );
}

function lostIndex(message: string, which: string): CairnError {
  return new CairnError(
    "LOG_REGRESSED",
    message,
    'Set "on-log-mismatch": {"regressed": "rebuild"} in cairn/tx-log to move the index aside and join from a checkpoint ' +
      `${which}; \`cairn log orphans\` then prints what only the index contains. Nothing was deleted.`,
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
  { name, bounds, birth }: LogIdentity,
  { skipped, movedAside }: Pick<Join, "skipped" | "movedAside">,
  stores: readonly CheckpointStore[],
): CairnError {
  const { continues } = birth ?? {};
  // Without a message before it, nothing shows which transaction the first message is, nor, to a node that reads a backup,
  // whether the log still holds what is missing there.
  const lacks =
    continues !== undefined
      ? `The log "${name}" continues log ${continues.log}, and no usable checkpoint or log backup leads to its transaction ${continues.anchor.txId}.`
      : backup !== undefined
        ? `The log backup in ${backup.location} lacks transactions before message ${bounds.first}, and no usable checkpoint holds them.`
        : `The log "${name}" no longer holds the messages before its message ${bounds.first}, and no usable checkpoint does.`;
  // The list is ordered from newest to oldest. Checkpoints of other logs never contained the beginning, and unreachable
  // stores are listed without a name.
  const newest = skipped.find((one) => one.name !== "" && one.code !== "LOG_DIFFERENT");
  const last =
    newest === undefined
      ? ""
      : ` Transactions up to ${parseCheckpointName(newest.name)?.txId} were last in ${newest.name} of ${newest.store} (${newest.code}: ${newest.message})`;
  const kept = movedAside.find(isOfOtherVersion)?.path;
  const index =
    kept === undefined ? "" : `This node's index, which another version of Cairn built, is kept in ${kept}. `;
  const run =
    newest !== undefined && isOfOtherVersion(newest)
      ? "Another version of Cairn wrote that checkpoint, and can use it: run that version. "
      : "";
  // An unmounted folder cannot be distinguished from an empty one, except by an operator who knows the name.
  const places = stores.map((store) => store.identity ?? store.location).join(" and in ");
  const found =
    newest !== undefined
      ? "cairn status shows why the checkpoints that were found cannot be used (in /status: join.skipped). "
      : stores.length === 0
        ? ""
        : `No checkpoint of this log was found in ${places}: check that the place is correct and mounted. `;
  // A log that continues another one may hold all that was written to it, so it must not be given up.
  const end =
    continues !== undefined
      ? "Most likely, restore-from lacks the store of the checkpoint or the log backup from which `cairn log recover` began it."
      : backup === undefined
        ? `If nothing holds these transactions any more, accept their loss: stop all writers, remove the log (nats stream rm ${name}; embedded: stop the node and move the log's folder away), and continue with the newest checkpoint: cairn log recover.`
        : "cairn log backup verify shows what the backup lacks, and whether a node writes it again.";
  const hint = `${index}${run}${found}Restore the log or a checkpoint of it, or configure the store that holds its checkpoints (restore-from). Or save a checkpoint on a ready node of this log: cairn checkpoint create --url URL (the address of that node). This node keeps searching, and continues by itself. ${end}`;
  return new CairnError("LOG_TRIMMED", lacks + last, hint);
}

function isOfOtherVersion({ code }: { readonly code: string }): boolean {
  return code === "INDEX_VERSION";
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
