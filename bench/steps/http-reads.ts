import { EventEmitter, once } from "node:events";
import { readFile } from "node:fs/promises";
import type { Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { startNode } from "@cairn/node";
import { fastify } from "fastify";
import { executionsConfig, execution } from "../data/executions.ts";
import { OWN_BUCKET, OWN_INDEX, ownKey, rowQuery } from "../data/own-documents.ts";
import type { Figures } from "../harness/figures.ts";
import { openConnection, sendRequest } from "../harness/http-connection.ts";

/**
 * The server: a node with the executions in `dir` or, without `dir`, a route that returns a constant of the same size.
 */
export interface ServedReads {
  readonly dir?: string;
  /** The node's configuration, unless it has the executions. */
  readonly config?: object;
  /** The servers of the log, unless it is embedded. */
  readonly servers?: readonly string[];
  readonly port: number;
  /** How clients must connect. By default, they need neither TLS nor a token. */
  readonly access?: Access;
}

/** The credentials of a server and its clients. */
export interface Access {
  /** The files of a certificate and its key, in PEM. Without them, connections are not encrypted. */
  readonly tls?: { readonly cert: string; readonly key: string };
  readonly token?: string;
}

/** The load of the clients. */
export interface AskedReads {
  readonly port: number;
  readonly count: number;
  readonly reads: number;
  /** Whether reads have `linearizable=true`. */
  readonly linearizable?: boolean;
  readonly access?: Access;
  /** What is read of the documents that own indexes are measured with, instead of executions. */
  readonly own?: "documents" | "rows";
}

const CONNECTIONS = 32;
// After this number of reads, the compiler has finished in both processes.
const WARMUP_READS = 100_000;
// The documents that {@link serveReads} waits for.
const BEGIN = "begin";
const END = "end";

function put(document: string, authorization: string): string {
  return `PUT /api/v1/marks/${document} HTTP/1.1\r\nHost: localhost\r\n${authorization}Content-Type: application/json\r\nContent-Length: 1\r\n\r\n1`;
}

/** Serves until the client writes the document marks/end. Returns the processor time since it wrote marks/begin. */
export async function serveReads({ dir, config, servers, port, access = {} }: ServedReads): Promise<Figures> {
  const { tls, token } = access;
  const constant = JSON.stringify(execution(0).document);
  const https = tls && { cert: await readFile(tls.cert), key: await readFile(tls.key) };
  const app = fastify(https === undefined ? {} : ({ https } as object));
  let measured = process.cpuUsage();
  const marks = new EventEmitter();
  const ended = once(marks, END);
  const mark = (document: string): void => {
    measured = process.cpuUsage(document === BEGIN ? undefined : measured);
    marks.emit(document);
  };
  app.put<{ Params: { document: string } }>("/api/v1/marks/:document", (request, reply) => {
    void reply.code(201).send();
    mark(request.params.document);
  });
  app.get("/api/v1/executions/*", (_request, reply) =>
    reply.type("application/json; charset=utf-8").send(constant),
  );
  if (dir === undefined && config === undefined) {
    await app.listen({ host: "127.0.0.1", port });
    await ended;
    await app.close();
    return processorTime(measured);
  }
  const http = { host: "127.0.0.1", port, ...(tls && { tls }), ...(token && { "auth-token": token }) };
  const served = config ?? executionsConfig(dir ?? "", servers);
  const node = await startNode({ ...served, "cairn/http-server": http }, { env: {} });
  try {
    await node.ready;
    for await (const event of node.watch({ bucket: "marks" })) {
      if (event.type !== "tx") continue;
      for (const { name } of event.changes) mark(name);
      if (event.changes.some(({ name }) => name === END)) break;
    }
    return processorTime(measured);
  } finally {
    await node.close();
  }
}

function processorTime({ user, system }: NodeJS.CpuUsage): Figures {
  return { "server cpu s": (user + system) / 1e6 };
}

/** Reads random documents over several connections, one after another on each. */
export async function askReads(load: AskedReads): Promise<Figures> {
  const { port, count, reads, linearizable = false, access = {}, own } = load;
  const { tls, token } = access;
  const sockets = await Promise.all(
    Array.from({ length: CONNECTIONS }, async () => await openConnection(port, tls?.cert)),
  );
  const authorization = token === undefined ? "" : `Authorization: Bearer ${token}\r\n`;
  const query = linearizable ? "?linearizable=true" : "";
  const requestOf = (index: number): string => {
    if (own === "rows") {
      const body = JSON.stringify(rowQuery(index));
      return `POST /api/v1/sql/${OWN_INDEX} HTTP/1.1\r\nHost: localhost\r\n${authorization}Content-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
    }
    const key = own === undefined ? execution(index).key : ownKey(index);
    return `GET /api/v1/${own === undefined ? "executions" : OWN_BUCKET}/${key}${query} HTTP/1.1\r\nHost: localhost\r\n${authorization}\r\n`;
  };
  let state = 1;
  const many = async (total: number): Promise<void> => {
    let left = total;
    const caller = async (socket: Socket): Promise<void> => {
      while (left > 0) {
        left -= 1;
        state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
        await sendRequest(socket, requestOf(state % count));
      }
    };
    await Promise.all(sockets.map(caller));
  };
  const [first] = sockets;
  if (first === undefined) throw new Error("there are no connections");
  await waitUntilReady(first, requestOf(count - 1));
  await many(Math.min(WARMUP_READS, reads));
  await sendRequest(first, put(BEGIN, authorization), /^HTTP\/1.1 20[01]/);
  const begin = performance.now();
  await many(reads);
  const seconds = (performance.now() - begin) / 1000;
  // Ends the server, whichever kind it is.
  await sendRequest(first, put(END, authorization), /^HTTP\/1.1 20[01]/);
  for (const one of sockets) one.destroy();
  return { "reads/s": reads / seconds };
}

/** Waits until the last document can be read: a node listens before its index is open. */
async function waitUntilReady(socket: Socket, request: string): Promise<void> {
  let status = "";
  for (;;) {
    await sendRequest(socket, request, /^HTTP\/1.1 (?:200|503)/, (answer) => (status = answer.slice(9, 12)));
    if (status === "200") return;
    await delay(20);
  }
}
