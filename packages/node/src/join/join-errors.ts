import { type CheckpointStore, parseCheckpointName } from "@cairn/checkpoint";
import { CairnError } from "@cairn/kv";
import type { NodeStatus } from "@cairn/client";
import type { IndexState } from "../index/rows/index-state.ts";
import type { BirthRecord } from "../transactions/birth-record.ts";
import type { LogIdentity } from "../log/log-identity.ts";

type Join = NodeStatus["join"];

/** The log is empty where there was more. `evidence` says how that is known, `checkpoint` is what could be gone on from. */
export function emptyLog(logName: string, evidence: string, checkpoint?: string | CairnError): CairnError {
  return new CairnError("LOG_DIFFERENT", `The log "${logName}" is empty, but ${evidence}.`, {
    hint: `Check the log's address and name. If the log is gone for good, ${howToGoOn(checkpoint)}. Nothing was deleted.`,
  });
}

function howToGoOn(checkpoint: string | CairnError | undefined): string {
  if (checkpoint instanceof CairnError)
    return `a checkpoint continues it, but no store could be read (${checkpoint.code}: ${checkpoint.message}); once one can, cairn log status names the checkpoint and the command`;
  return checkpoint === undefined
    ? 'and no checkpoint of it is in the stores that this node looks in: cairn log recover --from PATH goes on from one elsewhere, "on-log-mismatch": {"different": "rebuild"} lets this node begin with nothing'
    : `cairn log recover --from ${checkpoint} begins one that goes on after it, and the nodes with it (of an embedded log stop the node first)`;
}

/** A warning: a node that was to join a cluster, and has not been told its log, begins one of its own without a word. */
export function onlyOfOthers(
  { name }: LogIdentity,
  {
    name: checkpoint,
    log,
    txId,
  }: {
    readonly name: string;
    readonly log: { readonly name: string; readonly id: string };
    readonly txId: number;
  },
  dbDir: string,
): CairnError {
  return new CairnError(
    "LOG_DIFFERENT",
    `This node began with a log of its own, "${name}", which was empty, while its checkpoint store holds checkpoints of another log only: ${checkpoint}, transaction ${txId} of "${log.name}" (${log.id}).`,
    {
      hint:
        `If it was to join the nodes of that log, restart it with that log named: a log on NATS by NATS_URL or cairn/tx-log. If something was written to it meanwhile, move ${dbDir} away before it starts. ` +
        "What was written to it meanwhile stays in its own log. If it is to have a log of its own, give it a checkpoint store of its own.",
    },
  );
}

/** The local index was built from another log. */
export function foreignIndex(identity: LogIdentity, state: IndexState): CairnError {
  const continues = identity.birth?.continues;
  if (continues?.log === state.log.id) return besideTheSeam(identity, continues, state);
  return new CairnError(
    "LOG_DIFFERENT",
    `The local index was built from log ${state.log.id}, but "${identity.name}" is log ${identity.id}.`,
    {
      hint:
        "Check the log's address and name. If the log was replaced on purpose, move the index away or set " +
        '"on-log-mismatch": {"different": "rebuild"}. Nothing was deleted.',
    },
  );
}

/** The local index is of the log that this one continues, but does not end where it is continued. */
function besideTheSeam(
  { name }: LogIdentity,
  { log, anchor }: NonNullable<BirthRecord["continues"]>,
  { txId }: IndexState,
): CairnError {
  const where = txId === anchor.txId ? "another history" : `transaction ${txId}`;
  // As where a log lost its end: somebody began this one on purpose, and said of which history it is.
  return new CairnError(
    "LOG_REGRESSED",
    `The log "${name}" continues log ${log} after transaction ${anchor.txId}; the local index of that log ends at ${where}.`,
    {
      hint:
        'Set "on-log-mismatch": {"regressed": "rebuild"} to move the index aside and join from the checkpoint at that ' +
        "transaction; `cairn log orphans` then prints what only the index knows. Nothing was deleted.",
    },
  );
}

/** The log continues another one, and there is no checkpoint of that one to begin with. */
export function nothingToContinue(
  { name }: LogIdentity,
  { log, anchor }: NonNullable<BirthRecord["continues"]>,
  skipped: number,
): CairnError {
  return new CairnError(
    "LOG_TRIMMED",
    `The log "${name}" continues log ${log}, and no usable checkpoint ends at its transaction ${anchor.txId}.`,
    {
      hint:
        skipped > 0
          ? `${skipped} checkpoints were found and not usable: cairn status says why (in /status: join.skipped).`
          : "Configure the checkpoint store (restore-from) that holds the checkpoint which `cairn log recover` was given.",
    },
  );
}

/** The log's beginning is gone and no checkpoint holds it; says where it was last. */
export function nothingToRestore(
  { name, bounds }: LogIdentity,
  { skipped, movedAside }: Pick<Join, "skipped" | "movedAside">,
  stores: readonly CheckpointStore[],
): CairnError {
  // Newest first; those of other logs never held it, and an unreachable store has no name.
  const newest = skipped.find((one) => one.name !== "" && one.code !== "LOG_DIFFERENT");
  const missing = `transactions before message ${bounds.first}`;
  const sentence = `The log "${name}" no longer holds the ${missing}, and no usable checkpoint does.`;
  if (newest === undefined) {
    return new CairnError("LOG_TRIMMED", sentence, {
      hint: `${otherVersion(movedAside)}${placesLookedAt(stores)}Configure the checkpoint store that holds this log's checkpoints, or restore the log.${GOES_ON}`,
    });
  }
  const upTo = parseCheckpointName(newest.name)?.txId;
  const cure =
    newest.code === "INDEX_VERSION"
      ? "Another version of Cairn wrote that checkpoint: run that version, restore the log, or configure another store that holds "
      : "Restore that checkpoint's files or the log's, or configure another store that holds ";
  return new CairnError(
    "LOG_TRIMMED",
    `${sentence} Those up to ${upTo} were last in ${newest.name} of ${newest.store} (${newest.code}: ${newest.message})`,
    {
      hint:
        otherVersion(movedAside) +
        `${cure}this log's checkpoints (restore-from). ` +
        `cairn status names all that were found (in /status: join.skipped).${GOES_ON}`,
    },
  );
}

const GOES_ON =
  " A ready node of this log can save one: cairn checkpoint create. This node looks again and again, and goes on by itself.";

/** A folder that is not mounted looks like one that nobody has saved to yet: only a person can tell them apart, by its name. */
function placesLookedAt(stores: readonly CheckpointStore[]): string {
  if (stores.length === 0) return "No checkpoint store is configured. ";
  const places = stores.map((store) => store.identity ?? store.location).join(" and in ");
  return `No checkpoint of this log was found in ${places}: is that the right place, and mounted? `;
}

function otherVersion(movedAside: Join["movedAside"]): string {
  const index = movedAside.find(({ code }) => code === "INDEX_VERSION");
  return index === undefined
    ? ""
    : `This node's index, of another version of Cairn, is kept in ${index.path}: that version can go on with it. `;
}
