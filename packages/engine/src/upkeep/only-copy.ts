import { listCheckpoints } from "@cairn/checkpoint";
import { isCairnError } from "@cairn/kv";
import type { Logger } from "pino";
import type { System } from "../api/system.ts";
import type { LogHistory } from "../backup/log-with-backup.ts";
import { acceptManifest } from "../checkpoints/accept-checkpoint.ts";
import { restoreStores } from "../checkpoints/checkpoint-stores.ts";
import type { JoinedIndex } from "../join/join-index.ts";
import { readLogIdentity } from "../log/log-identity.ts";
import type { TxLog } from "../log/tx-log.ts";
import { beginningOf } from "../replay/fold-log.ts";

/** An open index, and from what else it could be built. */
interface OpenIndex extends JoinedIndex {
  readonly system: System;
  readonly log: TxLog;
  readonly history: LogHistory;
  readonly logger: Logger;
  readonly suspect: (error: unknown) => void;
}

/**
 * Reports an error in capturing an index, unless its files are gone and nothing is known from which it could be built
 * anew: what the node has open may be the only copy.
 */
export async function suspectUnlessOnly(parts: OpenIndex, error: unknown): Promise<void> {
  const { index, logger, suspect } = parts;
  const isGone = isCairnError(error, "INDEX_CORRUPT") && (await index.rows.stats()).missing !== undefined;
  if (isGone && !(await canBeBuilt(parts).catch(() => false))) {
    logger.error(
      "The node keeps its open index, because nothing is known from which it could be built anew.",
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
