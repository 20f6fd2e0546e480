import { setTimeout as delay } from "node:timers/promises";
import { itemAddress } from "../data/workloads.ts";
import type { Figures } from "../harness/figures.ts";
import { openConnection, sendRequest } from "../harness/http-connection.ts";
import { percentiles } from "../harness/latencies.ts";
import { randomBelow } from "./read-checkpoint.ts";

/** The load of a node that joins. */
export interface StaleReads {
  readonly port: number;
  /** The number of documents, of which random ones are read. */
  readonly keys: number;
  readonly readers: number;
  readonly perSecond: number;
}

const READY_POLL_MS = 50;

/**
 * Reads documents with `stale=true`, at a steady rate on each of several connections, from the time at which a node
 * listens until it is ready. Throws if a read is neither answered nor refused as not ready.
 */
export async function readStale({ port, keys, readers, perSecond }: StaleReads): Promise<Figures> {
  const latencies: number[] = [];
  const random = randomBelow(keys);
  const ready = new AbortController();
  const read = async (): Promise<void> => {
    const socket = await openConnection(port);
    while (!ready.signal.aborted) {
      const begin = performance.now();
      const status = await statusOf(socket, `/api/v1/${itemAddress(random()).join("/")}?stale=true`);
      const took = performance.now() - begin;
      if (status === "200") latencies.push(took);
      await delay(Math.max(0, 1_000 / perSecond - took));
    }
    socket.destroy();
  };
  const awaitReady = async (): Promise<void> => {
    const socket = await openConnection(port);
    while ((await statusOf(socket, "/health/ready")) !== "200") await delay(READY_POLL_MS);
    ready.abort();
    socket.destroy();
  };
  await Promise.all([awaitReady(), ...Array.from({ length: readers }, read)]);
  const at = percentiles(latencies);
  return { reads: latencies.length, "p50, ms": at(0.5), "p99, ms": at(0.99) };
}

async function statusOf(socket: Awaited<ReturnType<typeof openConnection>>, path: string): Promise<string> {
  let status = "";
  const request = `GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`;
  await sendRequest(socket, request, /^HTTP\/1.1 (?:200|503)/, (answer) => (status = answer.slice(9, 12)));
  return status;
}
