import { CairnError } from "@cairn/kv";
import type { BirthRecord } from "../transactions/birth-record.ts";
import { isOfFirstVersion } from "../transactions/message-frame.ts";
import { decodeMessage } from "../transactions/transaction-codec.ts";
import type { LogBounds, TxLog } from "./tx-log.ts";

/** Which log this is. `birth` is undefined when the log's first messages were trimmed: then index or checkpoint know the offset. */
export interface LogIdentity {
  readonly id: string;
  readonly name: string;
  readonly bounds: LogBounds;
  readonly birth: BirthRecord | undefined;
}

/**
 * Who the log is, from its first message or, where that was trimmed, from what is written beside it. Undefined when there is no log
 * or it never held a message. `LOG_DIFFERENT` when what it holds is not a log of Cairn.
 */
export async function readLogIdentity(log: TxLog): Promise<LogIdentity | undefined> {
  if (!(await log.exists())) return undefined;
  const bounds = await log.bounds();
  const first = await log.fetch(1);
  if (first !== undefined) {
    if (isOfFirstVersion(first.payload)) throw ofFirstVersion(log.name);
    const decoded = decodeMessage(first.payload);
    if (decoded.kind === "transaction") throw unbegun(log);
    if (decoded.kind !== "birth") throw foreign(log, "its first message is not a birth record");
    return { id: decoded.birth.log, name: log.name, bounds, birth: decoded.birth };
  }
  const id = await log.id();
  if (id === undefined) throw nameless(log);
  return { id, name: log.name, bounds, birth: undefined };
}

/** Whether nothing was ever written to the log but the record that began it. */
export function isUnused({ bounds, birth }: LogIdentity): boolean {
  return birth !== undefined && birth.continues === undefined && bounds.first === 1 && bounds.last === 1;
}

/** `CONFLICT`: what was to be removed as unused is not. */
export function usedLog(name: string, last: number): CairnError {
  return new CairnError("CONFLICT", `The log "${name}" is there already; its last message is ${last}.`, {
    hint: "Nothing was changed. cairn log status shows what it holds.",
  });
}

function foreign(log: TxLog, why: string): CairnError {
  return new CairnError("LOG_DIFFERENT", `"${log.name}" is not a transaction log of Cairn: ${why}.`, {
    hint: "Check the log's address and name (servers, stream). Cairn writes nothing to it. If the name is right and nobody needs what is there, delete it (nats stream rm): cairn log recover or cairn log create then begins a log in its place.",
  });
}

/** Its stream was deleted, and somebody who made one in its place was faster than the node that writes the birth record. */
function unbegun(log: TxLog): CairnError {
  return new CairnError(
    "LOG_DIFFERENT",
    `"${log.name}" is not a transaction log of Cairn: its first message is a transaction, and no birth record.`,
    {
      hint: `It was made anew while transactions were on their way to the log that was there before, and no log can begin in it any more. Delete it (nats stream rm ${log.name}), then cairn log recover goes on from a checkpoint, and cairn log create begins with nothing.`,
    },
  );
}

function nameless(log: TxLog): CairnError {
  return new CairnError(
    "LOG_DIFFERENT",
    `Nothing says which log "${log.name}" is: its birth record was trimmed, and its id is not written beside it.`,
    {
      hint: `Write it into the stream's description: nats stream edit ${log.name} --description "cairn log id ID". The ID stands in /status of each node that knows the log (log.id), and in its checkpoints' manifests. A running node writes it by itself within a minute.`,
    },
  );
}

/** `LOG_DIFFERENT`: a log that Cairn 0.1.0 wrote. The hint is followed word by word by a test. */
export function ofFirstVersion(logName: string): CairnError {
  return new CairnError(
    "LOG_DIFFERENT",
    `Cairn 0.1.0 wrote the log "${logName}", which this version does not read.`,
    {
      hint: "Begin a new log, under another name. To take the documents over, start Cairn 0.1.0 on the old one and, for each bucket, with the command of this version run cairn list BUCKET --all --transactions --url OLD-NODE | cairn load - --url NEW-NODE. Nothing was read or written.",
    },
  );
}
