import type { AnyOperation, Transaction } from "@cairn/client";
import { emptyState } from "../../../src/index/rows/index-state.ts";
import { encodeBirthRecord, encodeTransaction } from "../../../src/transactions/transaction-codec.ts";
import type { LogMessage } from "../../../src/log/tx-log.ts";

const birth = { log: "log-1", offset: 0 };

/** The state of an empty index of the log that {@link messagesOf} returns. */
export const empty = emptyState({ id: "log-1", name: "cairn", bounds: { first: 1, last: 1 }, birth });

/** Returns a log of these transactions. Times go back and forth, like a log's clock. */
export function messagesOf(transactions: readonly Transaction<AnyOperation>[]): LogMessage[] {
  return [
    { position: 1, time: 1_000, payload: encodeBirthRecord(birth) },
    ...transactions.map((one, index) => ({
      position: index + 2,
      time: 2_000 + (index % 3) * 500 + index,
      payload: encodeTransaction(one, birth.log),
    })),
  ];
}

/** Cuts the messages into runs of these lengths, and one run with the rest. */
export function cut(messages: readonly LogMessage[], lengths: readonly number[]): LogMessage[][] {
  const runs: LogMessage[][] = [];
  let from = 0;
  for (const length of [...lengths, messages.length]) {
    const run = messages.slice(from, from + length);
    if (run.length > 0) runs.push(run);
    from += length;
  }
  return runs;
}
