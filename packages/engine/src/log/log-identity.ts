import { CairnError } from "@cairn/kv";
import type { BirthRecord } from "../transactions/birth-record.ts";
import { decodeMessage, ofLaterFormat } from "../transactions/transaction-codec.ts";
import type { TxId } from "@cairn/client";
import type { Anchor } from "./anchor.ts";
import type { LogBounds, TxLog } from "./tx-log.ts";

/** `birth` is undefined if the first messages were trimmed: then only the index or a checkpoint shows the offset. */
export interface LogIdentity {
  readonly id: string;
  readonly name: string;
  readonly bounds: LogBounds;
  readonly birth: BirthRecord | undefined;
}

/**
 * Reads a log's identity from its first message or, if that was trimmed, from the stored id; undefined if the log does
 * not exist or never held a message. Throws `LOG_DIFFERENT` if it is not a Cairn log or its id is unknown (the hint then
 * names `expected`), and `LOG_VERSION` if a later version began it.
 */
export async function readLogIdentity(log: TxLog, expected?: string): Promise<LogIdentity | undefined> {
  if (!(await log.exists())) return undefined;
  const bounds = await log.bounds();
  const first = await log.fetch(1);
  if (first !== undefined) {
    const decoded = decodeMessage(first.payload);
    if (decoded.kind === "later") throw ofLaterFormat(`The first message of the log "${log.name}"`, decoded);
    if (decoded.kind !== "birth") {
      const isTransaction = decoded.kind === "transaction";
      throw new CairnError(
        "LOG_DIFFERENT",
        `"${log.name}" is not a Cairn transaction log: its first message is ${isTransaction ? "a transaction, " : ""}not a birth record.`,
        isTransaction
          ? `Delete the stream (nats stream rm ${log.name}). Then continue the log with cairn log recover, or begin an empty one (cairn log create --empty). The stream was created again while transactions for the previous log were in flight, so no log can begin in it.`
          : "Check the log's address and name (servers, stream). If they are right and the contents are not needed, delete the stream (nats stream rm) and begin a log in its place (cairn log recover, or cairn log create --empty). Cairn writes nothing to the stream.",
      );
    }
    return { id: decoded.birth.log, name: log.name, bounds, birth: decoded.birth };
  }
  const id = await log.id();
  if (id === undefined)
    throw new CairnError(
      "LOG_DIFFERENT",
      `The identity of the log "${log.name}" is unknown: its birth record was trimmed, and its description does not contain its id.`,
      expected === undefined
        ? `Start a node that has an index of this log: its failure contains the command that writes the id into the stream's description. If there is none, write the id that cairn checkpoint show prints there yourself (nats stream edit ${log.name} --description), after the words cairn log id.`
        : `If the stream is still the log of this node's index, write the id of that log into the description: nats stream edit ${log.name} --description "cairn log id ${expected}". The node then continues by itself.`,
    );
  return { id, name: log.name, bounds, birth: undefined };
}

/**
 * Returns whether a log has this id. If the id is not stored with the log, as in a stream whose description nodes may not
 * change, its birth record is read. Throws like {@link readLogIdentity}.
 */
export async function hasLogId(log: TxLog, id: string): Promise<boolean> {
  const stored = await log.id();
  return (stored ?? (await readLogIdentity(log))?.id) === id;
}

/** The prefix of a log's history that an index holds, as its state records it. */
export interface HeldPrefix {
  readonly log: { readonly id: string; readonly offset: number };
  readonly txId: TxId;
  readonly sha256: string;
  readonly time: number;
}

export function anchorOfPrefix({ log, txId, sha256, time }: HeldPrefix): Anchor {
  return { position: txId - log.offset, sha256, time };
}

/**
 * Returns the anchor of the last message of an index that agrees with the log. Undefined if the index needs all of this
 * log, birth record included: it is empty, or ends where this log continues the index's own log.
 */
export function lastKnown({ id }: Pick<LogIdentity, "id">, held: HeldPrefix): Anchor | undefined {
  const anchor = anchorOfPrefix(held);
  return held.log.id !== id || anchor.position === 0 ? undefined : anchor;
}

export function isUnused({ bounds, birth }: LogIdentity): boolean {
  return birth !== undefined && birth.continues === undefined && bounds.first === 1 && bounds.last === 1;
}

/** Returns `CONFLICT`: a log that was to be removed as unused has since been used. */
export function usedLog(
  name: string,
  last: number,
  hint = "Keep the log, or choose another name. cairn log status shows its messages. Nothing was changed.",
): CairnError {
  return new CairnError("CONFLICT", `The log "${name}" already exists; its last message is ${last}.`, hint);
}
