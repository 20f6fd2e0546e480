import { isCairnError } from "@cairn/kv";
import type { NodeClient } from "./node-client.ts";

/**
 * Waits until a transaction is indexed. Repeats the request, because each response has a time limit and a node may take
 * hours to index the transaction.
 */
export async function awaitIndexed(node: NodeClient, txId: number): Promise<void> {
  for (;;) {
    try {
      await node.send({ path: `/api/v1/tx/${txId}`, query: { timeout: "PT1M" } });
      return;
    } catch (error) {
      if (!isCairnError(error, "TX_TIMEOUT")) throw error;
    }
  }
}
