import { CairnError } from "@cairn/kv";
import { coalesced } from "../concurrency/coalesced.ts";
import { type IndexState, lastKnown } from "../index/rows/index-state.ts";
import { checkAnchor } from "../log/anchor.ts";
import { type LogIdentity, readLogIdentity } from "../log/log-identity.ts";
import type { TxLog } from "../log/tx-log.ts";

/** A node's current knowledge of its log. */
export interface KnownLog {
  readonly log: TxLog;
  readonly identity: LogIdentity;
  readonly state: IndexState;
}

/**
 * Returns a function to be called after the log has stored a transaction. It verifies that the log is still the one
 * that the node knows. A shared log can be replaced or rolled back while a node runs, and the node would then add its
 * transactions to a different history. If a call returns, everything that the log stored before the call belongs to the
 * node's history. Otherwise the call throws `LOG_REGRESSED`, also if the log has been trimmed beyond what the node has
 * read, because it may then be a different one. Concurrent calls share one request.
 */
export function sameHistory(known: () => KnownLog | undefined): () => Promise<void> {
  return coalesced(async () => {
    const now = known();
    // Only one node can use a log over which nodes cannot communicate.
    if (now === undefined || now.log.peers === undefined) return;
    const { log, identity, state } = now;
    const anchor = lastKnown(identity, state);
    const problem = anchor === undefined ? undefined : await checkAnchor(log, anchor);
    const isSame =
      anchor === undefined ? (await readLogIdentity(log))?.id === identity.id : problem === undefined;
    if (isSame) return;
    const reason =
      problem?.code === "LOG_TRIMMED"
        ? "no longer holds the message by which this node would recognize it"
        : "it is no longer the log that this node was following";
    throw new CairnError(
      "LOG_REGRESSED",
      `The log "${log.name}" stored the transaction, but ${reason}${problem === undefined ? "" : `: ${problem.message}`}`,
      {
        hint: "Wait until the node, which is comparing its log again, is ready. Then check whether the transaction exists before you send it again.",
        cause: problem,
      },
    );
  });
}
