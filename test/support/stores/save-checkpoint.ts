import { setTimeout as delay } from "node:timers/promises";
import type { CairnNode } from "@cairn/engine";

/**
 * Makes a node save a checkpoint of everything that it has, and returns its name. Nodes also save by themselves at a
 * random time within their first half minute: such a save may be running elsewhere, or have saved the same.
 */
export async function saveCheckpoint(node: CairnNode): Promise<string> {
  for (;;) {
    const result = await node.checkpoint().done;
    if ("checkpoint" in result) return result.checkpoint.name;
    const { last } = (await node.status()).checkpoints;
    if (result.skipped === "unchanged" && last !== null) return last.name;
    if (result.skipped !== "leased") throw new Error(`skipped: ${result.skipped}`);
    await delay(10);
  }
}
