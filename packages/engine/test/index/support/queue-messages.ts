import type { AnyOperation } from "@cairn/client";
import type { LogMessage } from "../../../src/log/tx-log.ts";
import { messagesOf } from "./cut-log.ts";
import { type IntendedTransaction, POLICY, QUEUE } from "./queue-intents.ts";
import { QueueOracle } from "./queue-oracle.ts";

/** Returns a log in which a queue is configured, and then these transactions are attempted. */
export function queueMessages(all: readonly Pick<IntendedTransaction, "intents">[]): LogMessage[] {
  const oracle = new QueueOracle(QUEUE);
  const transactions: { ops: AnyOperation[] }[] = [];
  const first = { intents: [() => ["configure", { queues: { [QUEUE]: POLICY } }] as const] };
  for (const { intents } of [first, ...all]) {
    // A document beside those of the queue shows the order of the changes.
    const ops: AnyOperation[] = [
      ...intents.map((intent) => intent(oracle)),
      ["put", "nodes", "n", transactions.length],
    ];
    if (!isValid(ops)) continue;
    transactions.push({ ops });
    const txId = transactions.length + 1;
    oracle.apply(ops, txId, messagesOf(transactions).at(-1)?.time ?? 0);
  }
  return messagesOf(transactions);
}

function isValid(ops: readonly AnyOperation[]): boolean {
  try {
    messagesOf([{ ops }]);
    return true;
  } catch {
    return false;
  }
}
