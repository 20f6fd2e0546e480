import { listCheckpoints } from "@cairn/checkpoint";
import { isCairnError, unlessFailed } from "@cairn/kv";
import type { Logger } from "pino";
import type { System } from "../api/system.ts";
import type { LogHistory } from "../backup/log-with-backup.ts";
import { acceptManifest } from "../checkpoints/accept-checkpoint.ts";
import { restoreStores } from "../checkpoints/checkpoint-stores.ts";
import type { JoinedIndex } from "../join/join-index.ts";
import { readLogIdentity } from "../log/log-identity.ts";
import type { TxLog } from "../log/tx-log.ts";
import { beginningOf } from "../replay/fold-log.ts";

interface OpenIndex extends JoinedIndex {
  readonly system: System;
  readonly log: TxLog;
  readonly history: LogHistory;
  readonly logger: Logger;
  readonly suspect: (error: unknown) => void;
}

/**
 * Reports an error in capturing an index, unless its files are gone and the node knows of nothing from which it could build
 * the index anew: what it has open may be the only copy.
 */
export async function suspectUnlessOnly(parts: OpenIndex, error: unknown): Promise<void> {
  const { index, logger, suspect } = parts;
  // An index that is closed by now is not looked at: the node is leaving it already.
  const stats = isCairnError(error, "INDEX_CORRUPT")
    ? await unlessFailed(index.rows.stats(), "any", undefined)
    : undefined;
  const isGone = stats?.missing !== undefined;
  // What cannot be reached now may not be there.
  if (isGone && !(await unlessFailed(canBeBuilt(parts), "any", false))) {
    logger.error(
      "The node keeps its open index, because it knows of nothing from which it could build the index anew.",
    );
    return;
  }
  suspect(error);
}

async function canBeBuilt({ system, log, history, identity: { id } }: OpenIndex): Promise<boolean> {
  const identity = await readLogIdentity(log, id);
  if (identity === undefined) return false;
  if ((await beginningOf(history, identity)) !== undefined) return true;
  for (const store of restoreStores(system)) {
    for (const one of (await listCheckpoints(store)).checkpoints)
      if ((await acceptManifest(one, system.kvProvider.format, history, identity)) === true) return true;
  }
  return false;
}
