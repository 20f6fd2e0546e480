import type { Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import type { Figures } from "../harness/figures.ts";
import { openConnection, sendRequest } from "../harness/http-connection.ts";
import { percentiles } from "../harness/latencies.ts";
import { processorSeconds } from "../harness/process-use.ts";
import { CREATED, putDocument, putIntoEtcd } from "./http-writes.ts";
import { Watcher } from "./watch-node.ts";

/** The load of a client that writes one document after another, each when it is due. */
export interface PacedWrites {
  readonly port: number;
  readonly server: "cairn" | "etcd";
  /** The server's process. */
  readonly pid: number;
  readonly perSecond: number;
  readonly seconds: number;
  /** The number of watchers: a single one watches everything, and each of several its own namespace. */
  readonly watchers: number;
}

const NAMESPACES = 100;
const KEYS = 10_000;
// At a low rate, it would take minutes until the server's code is compiled.
const WARMUP_WRITES = 5_000;

/** Writes documents at a steady rate on one connection, and measures the server's processor time for each. */
export async function paceWrites(load: PacedWrites): Promise<Figures> {
  const { port } = load;
  const watchers = await Promise.all(
    Array.from({ length: load.watchers }, (_, n) =>
      Watcher.open(port, load.watchers === 1 ? "" : `&namespace=n${n}`),
    ),
  );
  const socket = await openConnection(port);
  try {
    return await writeWatched(load, socket, watchers);
  } finally {
    // An open connection would keep the process alive.
    for (const watcher of watchers) watcher.close();
    socket.destroy();
  }
}

async function writeWatched(
  { server, pid, perSecond, seconds }: PacedWrites,
  socket: Socket,
  watchers: readonly Watcher[],
): Promise<Figures> {
  let written = 0;
  const write = async (): Promise<void> => {
    const key = `load/n${written % NAMESPACES}/k${written % KEYS}`;
    written += 1;
    await sendRequest(socket, server === "cairn" ? putDocument(key) : putIntoEtcd(key), CREATED);
  };
  for (let warmup = 0; warmup < WARMUP_WRITES; warmup++) await write();
  const cpu = processorSeconds(pid);
  const begin = performance.now();
  const latencies: number[] = [];
  while (latencies.length < perSecond * seconds) {
    const due = begin + (latencies.length * 1_000) / perSecond;
    await delay(Math.max(0, due - performance.now()));
    const at = performance.now();
    await write();
    latencies.push(performance.now() - at);
  }
  const took = (performance.now() - begin) / 1_000;
  await waitForEvents(watchers, written);
  const used = processorSeconds(pid) - cpu;
  const at = percentiles(latencies);
  return {
    "cpu ms each": (1_000 * used) / latencies.length,
    "puts/s": latencies.length / took,
    "p50, ms": at(0.5),
    "p99, ms": at(0.99),
  };
}

const MAX_WAIT_MS = 10_000;

/** Waits until the watchers have received all writes. */
async function waitForEvents(watchers: readonly Watcher[], written: number): Promise<void> {
  const until = performance.now() + MAX_WAIT_MS;
  for (;;) {
    const received = watchers.reduce((sum, { ids }) => sum + ids.count, 0);
    if (watchers.length === 0 || received === written) return;
    if (performance.now() > until) throw new Error(`watchers received ${received} of ${written} writes`);
    await delay(1);
  }
}
