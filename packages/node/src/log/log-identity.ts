import { CairnError } from "@cairn/kv";
import type { BirthRecord } from "../transactions/birth-record.ts";
import { ofFirstVersion } from "./first-version.ts";
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
    if (decoded.kind !== "birth") throw foreign(log, "its first message is not a birth record");
    return { id: decoded.birth.log, name: log.name, bounds, birth: decoded.birth };
  }
  const id = await log.id();
  if (id === undefined) throw foreign(log, "its birth record is gone and nothing else says its id");
  return { id, name: log.name, bounds, birth: undefined };
}

function foreign(log: TxLog, why: string): CairnError {
  return new CairnError("LOG_DIFFERENT", `"${log.name}" is not a transaction log of Cairn: ${why}.`, {
    hint: "Check the log's address and name (servers, stream). Nothing was read from it or written to it.",
  });
}
