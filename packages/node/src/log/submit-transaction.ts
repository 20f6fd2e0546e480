import { CairnError } from "@cairn/kv";
import type { Transaction, TxId } from "@cairn/client";
import { encodeTransaction } from "../transactions/transaction-codec.ts";
import { contentHash } from "../transactions/message-frame.ts";
import type { TxLog } from "./tx-log.ts";

/**
 * Appends a transaction to the log; answers its id once the log has it. Calls made one after another without waiting are stored
 * in their order. Errors: `TX_INVALID`, `TX_TOO_LARGE` (both before anything is sent), `CONFLICT` (the id was used for another
 * content), `LOG_UNREACHABLE`, `LOG_FULL`; `LOG_REGRESSED` when the log stored it at or before `known`, the last transaction that was
 * read from it before: this is not the history that the caller knows, and an id out of another one must not be awaited in it. `timeoutMs`
 * is handed on to the log (see {@link TxLog.append}).
 */
export async function submitTransaction(
  log: TxLog,
  { id, offset }: { readonly id: string; readonly offset: number },
  transaction: Transaction,
  known: TxId = 0,
  timeoutMs?: number,
): Promise<{ txId: TxId }> {
  const payload = encodeTransaction(transaction, id);
  if (payload.length > log.maxPayload) {
    throw new CairnError(
      "TX_TOO_LARGE",
      `The transaction has ${payload.length} bytes, the log "${log.name}" takes at most ${log.maxPayload}.`,
      { hint: "Split it into several transactions." },
    );
  }
  const options = {
    ...(transaction.id === undefined ? {} : { messageId: transaction.id }),
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
  };
  const { position, duplicate } = await log.append(payload, options);
  if (duplicate) await assertSameContent(log, position, payload, offset);
  else if (position + offset <= known) throw takenBefore(log.name, position);
  return { txId: position + offset };
}

function takenBefore(logName: string, position: number): CairnError {
  return new CairnError(
    "LOG_REGRESSED",
    `The log "${logName}" stored the transaction as message ${position}, but another message ${position} was read from it before.`,
    {
      hint: "The log lost its end or was replaced, and the transaction is part of what it holds now. Look at the node (cairn status, GET /status), then decide.",
    },
  );
}

/** The log compares ids only; an id stands for one content. */
async function assertSameContent(
  log: TxLog,
  position: number,
  payload: Uint8Array,
  offset: number,
): Promise<void> {
  const first = await log.fetch(position);
  // Trimmed meanwhile: what the index remembers of the id decides.
  if (first === undefined || contentHash(first.payload).equals(contentHash(payload))) return;
  throw new CairnError("CONFLICT", `Transaction ${position + offset} has the same id and another content.`, {
    hint: "An id stands for one transaction: choose a new one for another content.",
  });
}
