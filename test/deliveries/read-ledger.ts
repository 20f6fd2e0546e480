import type { CairnClient } from "@cairn/client";
import { NatsOperator } from "@cairn/log-nats/testing";
import { readMessage } from "@cairn/engine/testing";
import { type QueueOperation, type QueueTransaction, ShardLedger } from "./shard-ledger.ts";

/** The number of outcomes that are requested at once. */
const AT_ONCE = 64;

/**
 * Reads the ledger of a queue from the log, whose first transaction has the id 1. Only which transactions were committed,
 * and the shards that enqueues chose, are taken from the nodes.
 */
export async function readLedger(
  natsUrl: string,
  client: CairnClient,
  { queue, leaseMs }: { readonly queue: string; readonly leaseMs: number },
): Promise<ShardLedger> {
  const ledger = new ShardLedger(leaseMs);
  let written: QueueTransaction[] = [];
  const applyAll = async (): Promise<void> => {
    const outcomes = await Promise.all(written.map(async ({ txId }) => await client.await(txId)));
    for (const [at, transaction] of written.entries()) {
      const { committed = false, duplicateOf, shards = [] } = outcomes[at] ?? {};
      if (committed && duplicateOf === undefined) ledger.apply({ ...transaction, shards });
    }
    written = [];
  };
  await NatsOperator.at(natsUrl, async (operator) => {
    let time = 0;
    for await (const message of operator.messages()) {
      // The time of a transaction is never before that of an earlier one.
      time = Math.max(time, message.time);
      const { ops = [], documents = [] } = readMessage(message.payload) ?? {};
      const own = ops.filter(([, bucket]) => bucket === queue);
      if (own.length === 0) continue;
      const transaction = own.map(([kind, , ...rest]) => [kind, ...rest] as unknown as QueueOperation);
      written.push({ txId: message.position, time, ops: transaction, documents, shards: [] });
      if (written.length === AT_ONCE) await applyAll();
    }
    await applyAll();
  });
  return ledger;
}
