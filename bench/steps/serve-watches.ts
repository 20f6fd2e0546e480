import { setTimeout as delay } from "node:timers/promises";
import { startNode } from "@cairn/node";
import type { Figures } from "../harness/figures.ts";
import { peakMemory } from "../harness/peak-memory.ts";

/** The load on a node while it is watched. */
export interface WatchedLoad {
  readonly dir: string;
  readonly port: number;
  /** The number of watchers. Unless it is 0, the load begins once the watchers' process signals that all are connected. */
  readonly watchers: number;
  readonly namespaces: number;
  readonly perSecond: number;
  readonly seconds: number;
}

const TICK_MS = 10;
const DOCUMENT = { text: "x".repeat(100) };

/** Submits transactions at a constant rate to a node with an embedded log, and measures how many it indexes per second. */
export async function serveWatches(load: WatchedLoad): Promise<Figures> {
  const { dir, port, watchers, namespaces, perSecond, seconds } = load;
  const node = await startNode(
    { "cairn/node": { id: "bench", dir }, "cairn/http-server": { host: "127.0.0.1", port } },
    { env: {}, cwd: dir },
  );
  try {
    await node.ready;
    if (watchers > 0) {
      for await (const { type } of node.watch({ bucket: "signals", from: "0" })) if (type === "tx") break;
    }
    const total = perSecond * seconds;
    const cpu = process.cpuUsage();
    const begin = performance.now();
    let slowest = 0;
    let sent = 0;
    let last = Promise.resolve(0);
    while (sent < total) {
      const due = Math.min(total, Math.floor(((performance.now() - begin) / 1000) * perSecond));
      for (; sent < due; sent += 1) {
        const key = `n${sent % namespaces}/k${sent % 50_000}`;
        last = node.submit({ ops: [["put", "load", key, DOCUMENT]] }).then(({ txId }) => txId);
        last.catch(() => {});
      }
      const tick = performance.now();
      await delay(TICK_MS);
      slowest = Math.max(slowest, performance.now() - tick - TICK_MS);
    }
    await node.await(await last);
    const took = (performance.now() - begin) / 1000;
    const { user, system } = process.cpuUsage(cpu);
    const ends = Array.from({ length: namespaces }, (_, n) => ["put", "load", `n${n}/end`, {}] as const);
    await node.submit({ ops: ends });
    if (watchers > 0) {
      for await (const { type } of node.watch({ bucket: "signals" })) if (type === "tx") break;
    }
    return {
      "tx/s": total / took,
      "longest wait, ms": slowest,
      "load cpu s": (user + system) / 1_000_000,
      "peak MB": peakMemory(),
    };
  } finally {
    await node.close();
  }
}
