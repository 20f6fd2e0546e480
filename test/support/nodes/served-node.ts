import { ALL_RIGHTS } from "@cairn/client/protocol";
import { request as httpRequest, type IncomingMessage } from "node:http";
import { text } from "node:stream/consumers";
import { startHttpServer } from "@cairn/http";
import type { HttpServer } from "@cairn/http/src/server";
import type { HttpOptions } from "@cairn/engine";
import type { AnsweredRequest } from "@cairn/engine/src/observe/resource-use";
import { MemoryNode } from "./memory-node.ts";

/** The response to a raw request. */
export interface RawAnswer {
  readonly status: number;
  readonly headers: IncomingMessage["headers"];
  readonly text: string;
}

/** A MemoryNode behind a real server on a free port. It is closed with `await using`. */
export class ServedNode {
  readonly node: MemoryNode;
  readonly server: HttpServer;
  /** The errors that the server logged. */
  readonly logged: { fields: object; message: string }[];
  /** The warnings that the server logged. */
  readonly warned: { fields: object; message: string }[];
  /** The requests that received a response, as reported to metrics. */
  readonly answered: readonly AnsweredRequest[];
  /** The connections and watches that the server refused. */
  readonly refused: { code: string; message: string }[];

  constructor(
    node: MemoryNode,
    server: HttpServer,
    { logged, warned, answered, refused }: Pick<ServedNode, "logged" | "warned" | "answered" | "refused">,
  ) {
    this.node = node;
    this.server = server;
    this.logged = logged;
    this.warned = warned;
    this.answered = answered;
    this.refused = refused;
  }

  get url(): string {
    return this.server.url;
  }

  fetch(path: string, init?: RequestInit): Promise<Response> {
    return fetch(this.url + path, init);
  }

  /** Sends `body` as JSON. */
  send(method: string, path: string, body: unknown, headers: Record<string, string> = {}): Promise<Response> {
    return this.fetch(path, {
      method,
      body: JSON.stringify(body),
      headers: { "content-type": "application/json", ...headers },
    });
  }

  put(path: string, body: unknown, headers?: Record<string, string>): Promise<Response> {
    return this.send("PUT", path, body, headers);
  }

  post(path: string, body: unknown, headers?: Record<string, string>): Promise<Response> {
    return this.send("POST", path, body, headers);
  }

  /** Sends the address exactly as it is given, because fetch would normalize it. */
  raw(
    method: string,
    path: string,
    options: { body?: string | Buffer; headers?: Record<string, string> } = {},
  ): Promise<RawAnswer> {
    return new Promise((resolve, reject) => {
      const request = httpRequest(
        { host: "127.0.0.1", port: this.server.port, method, path, agent: false, ...options },
        (response) => {
          text(response).then(
            (answer) =>
              resolve({ status: response.statusCode ?? 0, headers: response.headers, text: answer }),
            reject,
          );
        },
      );
      request.once("error", reject);
      request.end(options.body);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server.close();
  }
}

/** Starts a server with a MemoryNode. */
export async function serve(
  options: Partial<HttpOptions> & {
    node?: MemoryNode;
    /** A token with all rights. */
    authToken?: string;
    closeTimeoutMs?: number;
    requestTimeoutMs?: number;
    goneAfterMs?: number;
    maxConnections?: number;
  } = {},
): Promise<ServedNode> {
  const {
    node = new MemoryNode(),
    closeTimeoutMs = 1000,
    requestTimeoutMs,
    goneAfterMs,
    maxConnections,
    authToken,
    ...http
  } = options;
  const tokens =
    authToken === undefined ? {} : { tokens: [{ source: { text: authToken }, rights: ALL_RIGHTS }] };
  const logged: ServedNode["logged"] = [];
  const warned: ServedNode["warned"] = [];
  const answered: AnsweredRequest[] = [];
  const refused: ServedNode["refused"] = [];
  const server = await startHttpServer(
    node,
    { host: "127.0.0.1", port: 0, maxBody: 1_048_576, ...tokens, ...http },
    {
      logger: {
        error: (fields, message) => logged.push({ fields, message }),
        debug: () => undefined,
        warn: (fields, message) => warned.push({ fields, message }),
      },
      onAnswered: (request) => answered.push(request),
      onRefused: ({ code, message }) => refused.push({ code, message }),
      closeTimeoutMs,
      ...(requestTimeoutMs === undefined ? {} : { requestTimeoutMs }),
      ...(goneAfterMs === undefined ? {} : { goneAfterMs }),
      ...(maxConnections === undefined ? {} : { maxConnections }),
    },
  );
  return new ServedNode(node, server, { logged, warned, answered, refused });
}
