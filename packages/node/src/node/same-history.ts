import { CairnError } from "@cairn/kv";
import { coalesced } from "../concurrency/coalesced.ts";
import { lastKnown } from "../index/index-anchor.ts";
import type { IndexState } from "../index/rows/index-state.ts";
import { checkAnchor } from "../log/anchor.ts";
import { type LogIdentity, readLogIdentity } from "../log/log-identity.ts";
import type { TxLog } from "../log/tx-log.ts";

/** The log as a node knows it now. */
export interface KnownLog {
  readonly log: TxLog;
  readonly identity: LogIdentity;
  readonly state: IndexState;
}

/**
 * Finds out whether the log is still the one that a node knows, after it has stored something: a log that others have as well can be
 * replaced or put back under a running node, and would take its transactions for another history. What the log stored before the call
 * belongs to the node's history, or the call throws. However many ask at once, the log is asked once.
 */
export function sameHistory(known: () => KnownLog | undefined): () => Promise<void> {
  return coalesced(async () => {
    const now = known();
    // Only one node has a log without peers.
    if (now === undefined || now.log.peers === undefined) return;
    const { log, identity, state } = now;
    const anchor = lastKnown(identity, state);
    const problem = anchor === undefined ? undefined : await checkAnchor(log, anchor);
    const isSame =
      anchor === undefined ? (await readLogIdentity(log))?.id === identity.id : problem === undefined;
    if (isSame) return;
    throw new CairnError(
      "LOG_REGRESSED",
      `The log "${log.name}" stored the transaction, and is not the one that this node knows any more${problem === undefined ? "" : `: ${problem.message}`}`,
      {
        hint: "The node looks at its log again. Once it is ready, read whether the transaction is there before you send it again.",
        cause: problem,
      },
    );
  });
}
