import type { Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { startNode } from "@cairn/node";
import { fastify } from "fastify";
import { executionsConfig, execution } from "../data/executions.ts";
import type { Figures } from "../harness/figures.ts";
import { openConnection, sendRequest } from "../harness/http-connection.ts";

/**
 * The server: a node with the executions in `dir` or, without `dir`, a route that returns a constant of the same size.
 */
export interface ServedReads {
  readonly dir?: string;
  /** The servers of the log, unless it is embedded. */
  readonly servers?: readonly string[];
  readonly port: number;
}

/** The load of the clients. */
export interface AskedReads {
  readonly port: number;
  readonly count: number;
  readonly reads: number;
  /** Whether reads have `linearizable=true`. */
  readonly linearizable?: boolean;
}

const CONNECTIONS = 32;
// After this number of reads, the compiler has finished in both processes.
const WARMUP_READS = 100_000;
// Puts the document that {@link serveReads} waits for.
const STOP =
  "PUT /api/v1/stop/now HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1\r\n\r\n1";

/** Serves until the client writes the document stop/now. */
export async function serveReads({ dir, servers, port }: ServedReads): Promise<Figures> {
  const constant = JSON.stringify(execution(0).document);
  const app = fastify();
  const stopping = new Promise<void>((resolve) => {
    app.put("/api/v1/stop/now", (_request, reply) => {
      void reply.code(201).send();
      resolve();
    });
  });
  app.get("/api/v1/executions/*", (_request, reply) =>
    reply.type("application/json; charset=utf-8").send(constant),
  );
  if (dir === undefined) {
    await app.listen({ host: "127.0.0.1", port });
    await stopping;
    await app.close();
    return {};
  }
  const config = { ...executionsConfig(dir, servers), "cairn/http-server": { host: "127.0.0.1", port } };
  const node = await startNode(config, { env: {} });
  try {
    await node.ready;
    for await (const event of node.watch({ bucket: "stop" })) if (event.type === "tx") break;
    return {};
  } finally {
    await node.close();
  }
}

/** Reads random documents over several connections, one after another on each. */
export async function askReads({ port, count, reads, linearizable = false }: AskedReads): Promise<Figures> {
  const sockets = await Promise.all(
    Array.from({ length: CONNECTIONS }, async () => await openConnection(port)),
  );
  const query = linearizable ? "?linearizable=true" : "";
  let state = 1;
  const many = async (total: number): Promise<void> => {
    let left = total;
    const caller = async (socket: Socket): Promise<void> => {
      while (left > 0) {
        left -= 1;
        state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
        await sendRequest(
          socket,
          `GET /api/v1/executions/${execution(state % count).key}${query} HTTP/1.1\r\nHost: localhost\r\n\r\n`,
        );
      }
    };
    await Promise.all(sockets.map(caller));
  };
  await waitUntilReady(port, count);
  await many(Math.min(WARMUP_READS, reads));
  const begin = performance.now();
  await many(reads);
  const seconds = (performance.now() - begin) / 1000;
  const [socket] = sockets;
  // Ends the server, whichever kind it is.
  if (socket !== undefined) await sendRequest(socket, STOP, /^HTTP\/1.1 20[01]/);
  for (const one of sockets) one.destroy();
  return { "reads/s": reads / seconds };
}

/** Waits until the last document can be read: a node listens before its index is open. */
async function waitUntilReady(port: number, count: number): Promise<void> {
  const url = `http://127.0.0.1:${port}/api/v1/executions/${execution(count - 1).key}`;
  while ((await fetch(url)).status !== 200) await delay(20);
}
