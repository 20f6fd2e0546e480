import { setTimeout as delay } from "node:timers/promises";
import { isCairnError } from "@cairn/kv";
import type { CairnNode } from "../../src/node/node.ts";

/**
 * Makes a node save a checkpoint of everything that it has, and returns its name. A node also saves by itself at a
 * random time within its first half minute: that save may be running, or may have saved the same.
 */
export async function saveCheckpoint(node: CairnNode): Promise<string> {
  for (;;) {
    try {
      const result = await node.checkpoint().done;
      if ("checkpoint" in result) return result.checkpoint.name;
      const { last } = (await node.status()).checkpoints;
      if (last === null || result.skipped !== "unchanged") throw new Error(`skipped: ${result.skipped}`);
      return last.name;
    } catch (error) {
      if (!isCairnError(error, "CHECKPOINT_RUNNING")) throw error;
      await delay(10);
    }
  }
}
