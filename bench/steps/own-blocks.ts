import { execFile } from "node:child_process";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { startNode } from "@cairn/node";
import { LARGE_QUERY, OWN_INDEX } from "../data/own-documents.ts";
import type { Figures } from "../harness/figures.ts";
import { caughtUp, ownIndexLive } from "./own-indexes.ts";

const IDLE_MS = 3_000;
const QUERIES = 5;
const ASKING = `for (let n = 0; n < ${QUERIES}; n++) {
  const response = await fetch(process.argv[1], { method: "POST", headers: { "content-type": "application/json" }, body: process.argv[2] });
  if (!response.ok) throw new Error(await response.text());
  await response.arrayBuffer();
}`;

/**
 * Measures the longest block of the node's event loop until its own index is live, and during what is named. Without an
 * own index, that is an idle node for `seconds`, and the same checkpoint.
 */
export async function measureBlocks(input: {
  readonly config: object;
  readonly port: number;
  readonly hasIndex: boolean;
  readonly seconds: number;
  readonly work: readonly ("query" | "capture")[];
}): Promise<Figures> {
  const node = await startNode(input.config, { env: {} });
  try {
    if (input.hasIndex) await caughtUp(node);
    else await node.ready;
    const begin = performance.now();
    const live = await longestBlock(async () => {
      if (input.hasIndex) await ownIndexLive(node);
      else await delay(input.seconds * 1_000);
    });
    const seconds = (performance.now() - begin) / 1_000;
    const figures: Record<string, number> = { "live, ms": live, "live, s": seconds };
    if (input.work.includes("query")) {
      figures["query, ms"] = await longestBlock(async () => {
        if (input.hasIndex) await queryLargely(input.port);
        else await delay(IDLE_MS);
      });
    }
    if (input.work.includes("capture")) {
      // Otherwise, the node saves the first checkpoint of its store by itself meanwhile.
      await node.checkpoint().done;
      figures["capture, ms"] = await longestBlock(async () => void (await node.checkpoint().done));
    }
    return figures;
  } finally {
    await node.close();
  }
}

async function longestBlock(work: () => Promise<void>): Promise<number> {
  const histogram = monitorEventLoopDelay({ resolution: 1 });
  histogram.enable();
  await work();
  histogram.disable();
  return histogram.max / 1e6;
}

async function queryLargely(port: number): Promise<void> {
  const url = `http://127.0.0.1:${port}/api/v1/sql/${OWN_INDEX}`;
  const args = ["--input-type=module", "-e", ASKING, url, JSON.stringify(LARGE_QUERY)];
  await promisify(execFile)(process.execPath, args);
}
