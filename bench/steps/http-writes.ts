import type { Figures } from "../harness/figures.ts";
import { openConnection, sendRequest } from "../harness/http-connection.ts";
import { timeCalls } from "../harness/latencies.ts";

/** The load of the clients. */
export interface AskedWrites {
  readonly port: number;
  readonly connections: number;
  readonly seconds: number;
  readonly server: "cairn" | "etcd";
  /** The number of documents that each request writes as one transaction; undefined if it puts a single document. */
  readonly each?: number;
  /** The number of keys, which are written repeatedly in a scattered order; undefined if every key is new. */
  readonly keys?: number;
}

const DOCUMENT = JSON.stringify({ v: "x".repeat(300) });
/** A prime, so that a multiple of it visits every key before it repeats one. */
const STRIDE = 7_919_000_027;
const MANY_KEYS = 1e12;

/** Writes documents over several connections, one after another on each, until each can be read. */
export async function askWrites(load: AskedWrites): Promise<Figures> {
  const { port, connections, seconds, server, each, keys = MANY_KEYS } = load;
  const sockets = await Promise.all(Array.from({ length: connections }, () => openConnection(port)));
  // Rounds share a server, so new keys must differ from those of earlier rounds.
  const begun = keys === MANY_KEYS ? Date.now() * 1_000 : 0;
  const put = (key: string): string => (server === "cairn" ? putDocument(`writes/${key}`) : putIntoEtcd(key));
  const putAll = server === "cairn" ? submitTransaction : submitToEtcd;
  let count = begun;
  const nextKey = (): string => `k${(++count * STRIDE) % keys}`;
  const figures = await timeCalls(
    each === undefined ? "puts/s" : "tx/s",
    { callers: connections, seconds },
    async (caller) => {
      const socket = sockets[caller];
      if (socket === undefined) throw new Error(`there is no connection ${caller}`);
      const request = each === undefined ? put(nextKey()) : putAll(Array.from({ length: each }, nextKey));
      await sendRequest(socket, request, CREATED);
    },
  );
  for (const socket of sockets) socket.destroy();
  return figures;
}

/** The status of a write that succeeded, of both servers. */
export const CREATED = /^HTTP\/1.1 20[01]/;

/** Returns the request that puts a document of 300 characters into Cairn. */
export function putDocument(path: string): string {
  return requestText("PUT", `/api/v1/${path}`, DOCUMENT);
}

function submitTransaction(keys: readonly string[]): string {
  const ops = keys.map((key) => `["put","writes","${key}",${DOCUMENT}]`);
  return requestText("POST", "/api/v1/tx?await=true", `{"ops":[${ops.join(",")}]}`);
}

/** Returns the request that puts a document of 300 characters into etcd. */
export function putIntoEtcd(key: string): string {
  return requestText("POST", "/v3/kv/put", JSON.stringify(etcdPut(key)));
}

function submitToEtcd(keys: readonly string[]): string {
  const success = keys.map((key) => ({ request_put: etcdPut(key) }));
  return requestText("POST", "/v3/kv/txn", JSON.stringify({ success }));
}

function etcdPut(key: string): object {
  const [encodedKey, value] = [key, DOCUMENT].map((text) => Buffer.from(text).toString("base64"));
  return { key: encodedKey, value };
}

function requestText(method: string, path: string, body: string): string {
  return `${method} ${path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
}
