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
 * Reports an error in capturing or checking an index, unless the index is damaged and the node knows of nothing from which
 * it could build the index anew: what it has open may be the only copy.
 */
export async function suspectUnlessOnly(parts: OpenIndex, error: unknown): Promise<void> {
  const { logger, suspect } = parts;
  // What cannot be reached now may not be there.
  if (isCairnError(error, "INDEX_CORRUPT") && !(await unlessFailed(canBeBuilt(parts), "any", false))) {
    logger.error(
      { code: error.code },
      `The node keeps its open index, because it knows of nothing from which it could build the index anew: ${error.message}`,
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
      if (!one.damaged && (await acceptManifest(one, system.kvProvider.format, history, identity)) === true)
        return true;
  }
  return false;
}
