import { CairnError } from "@cairn/kv";
import { type LogHistory, wayToLog } from "../backup/log-with-backup.ts";
import { emptyState, type IndexState, lastKnown } from "../index/rows/index-state.ts";
import { followLog, type FollowLogOptions } from "../log/follow-log.ts";
import type { LogIdentity } from "../log/log-identity.ts";
import type { LogMessage } from "../log/tx-log.ts";

/**
 * Returns the state of an empty index to which the whole history of a log can be applied, starting with the first log
 * that it continues. Undefined if the beginning is neither in the log nor in a backup.
 */
export async function beginningOf(log: LogHistory, identity: LogIdentity): Promise<IndexState | undefined> {
  const { birth, name } = identity;
  if (birth === undefined) return undefined;
  if (birth.continues === undefined) return emptyState(identity);
  const [first] = (await log.earlier?.all(birth)) ?? [];
  return first === undefined ? undefined : emptyState({ ...first.identity, name });
}

/**
 * Yields the messages that follow an index, in order and without holes. The messages of earlier logs come from their
 * backups; those of the log follow, as {@link followLog} yields them. No array contains messages of two logs. `upTo` is
 * a position of the log itself. Throws `LOG_TRIMMED` if the backups no longer hold the messages in between, and the
 * errors of {@link followLog}.
 */
export async function* followHistory(
  log: LogHistory,
  identity: LogIdentity,
  state: IndexState,
  options: Omit<FollowLogOptions, "anchor" | "from">,
): AsyncGenerator<readonly LogMessage[], void, void> {
  if (state.log.id !== identity.id) {
    const { txId, sha256 } = state;
    const way = await wayToLog(log, identity, { logId: state.log.id, txId, sha256 });
    if (way === undefined) throw lostWay(identity, state);
    for (const { log: earlier, identity: own, offset, last } of way)
      yield* followLog(earlier, { ...options, upTo: last - offset, anchor: lastKnown(own, state) });
  }
  yield* followLog(log, { ...options, anchor: lastKnown(identity, state) });
}

function lostWay({ name }: LogIdentity, { log, txId }: IndexState): CairnError {
  return new CairnError(
    "LOG_TRIMMED",
    `The log "${name}" continues an earlier one, and no backup of that log holds the transactions after transaction ${txId} of ${log.id}.`,
    {
      hint: "Save a checkpoint of this log on another node: the node then continues from it by itself. cairn log backup status shows what the backup holds.",
    },
  );
}
