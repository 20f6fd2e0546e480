import type { TxId } from "@cairn/client";
import {
  anchorOfPrefix,
  checkAnchor,
  fileReader,
  type History,
  historyOfLog,
  historyOfRows,
  type LogIdentity,
  type logWithBackup,
  openIndex,
  type System,
} from "@cairn/engine";
import type { CommandRun } from "../options/command.ts";
import { copyNodeIndex } from "./copied-index.ts";

/**
 * Returns what the log holds after a transaction, as the node's index shows it, if it agrees with the log, and the rest of
 * the log; and the last transaction that has been trimmed and that the index does not show either.
 */
export async function presentHistory(
  run: CommandRun,
  log: ReturnType<typeof logWithBackup>,
  identity: LogIdentity,
  system: System,
) {
  const { copy } = await copyNodeIndex(run, system);
  const { bounds, birth, id } = identity;
  // An index that the log does not continue may have the lost transactions itself.
  const isPresent =
    copy?.state.log.id === id && (await checkAnchor(log, anchorOfPrefix(copy.state))) === undefined;
  const shown = isPresent ? copy.state.txId : 0;
  const offset = birth?.offset ?? copy?.state.log.offset ?? 0;
  const { kv } = isPresent ? await openIndex(fileReader(system.kvProvider), copy.dir) : {};
  run.defer(async () => await kv?.close());
  const after = (txId: TxId): readonly History[] => {
    const rest = historyOfLog(log, Math.max(bounds.first, Math.max(shown, txId) + 1 - offset), run.signal);
    return kv === undefined || shown <= txId ? [rest] : [historyOfRows(kv, txId, shown), rest];
  };
  return {
    after,
    unknownUpTo: isPresent
      ? (copy.state.outcomesAfter ?? 0)
      : bounds.first > 1
        ? bounds.first - 1 + offset
        : 0,
  };
}
