import { Agent, createServer } from "node:http";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { onTestFinished } from "vitest";
import { errorDocument } from "./answering-server.ts";
import { S3Conditions } from "./s3-conditions.ts";
import type { FaultPlan, S3Fault } from "./s3-faults.ts";
import { answerWith, passOn, whole } from "./s3-passing.ts";
import type { Said } from "./s3-passing.ts";
import { s3Request } from "./s3-request.ts";
import type { S3Request, S3RequestKind } from "./s3-request.ts";

/** The traffic of one kind of request. Bytes are counted in bodies only. */
export interface S3Traffic {
  requests: number;
  bytesSent: number;
  bytesReceived: number;
}

/** A real HTTP proxy between an S3 client and a service. The proxy is stopped at the end of the test. */
export interface S3FaultProxy {
  readonly endpoint: string;
  /** The faults to inject. They may be changed at any time. */
  plan: FaultPlan;
  /**
   * The number of bytes of objects after which the connection that sent the last of them is closed. The count then
   * starts again.
   */
  breakEvery: number;
  traffic(kind: S3RequestKind): S3Traffic;
  /** The number of requests of all kinds. */
  readonly requests: number;
  /** The keys of the uploads in parts that were requested. */
  readonly begun: ReadonlySet<string>;
  /** The faults so far: "503 part". */
  readonly happened: readonly string[];
}

/** Options for a proxy. */
export interface S3FaultProxyOptions {
  /** The service's endpoint. */
  readonly to: string;
  /** Whether the proxy evaluates conditions of writes, for a service that ignores them. */
  readonly withConditions?: boolean;
}

const REFUSALS: Readonly<Record<string, readonly [status: number, word: string]>> = {
  "500": [500, "InternalError"],
  "503": [503, "SlowDown"],
  "409": [409, "ConditionalRequestConflict"],
  "412": [412, "PreconditionFailed"],
  "404": [404, "NoSuchKey"],
  "error in 200": [200, "InternalError"],
};

/** Starts a proxy on a free port. */
export async function s3FaultProxy(options: S3FaultProxyOptions): Promise<S3FaultProxy> {
  const { hostname, port } = new URL(options.to);
  const agent = new Agent({ keepAlive: true });
  const conditions = options.withConditions === true ? new S3Conditions() : undefined;
  const traffic = new Map<S3RequestKind, S3Traffic>();
  const happened: string[] = [];
  const begun = new Set<string>();
  let received = 0;

  const trafficOf = (kind: S3RequestKind): S3Traffic => {
    const known = traffic.get(kind) ?? { requests: 0, bytesSent: 0, bytesReceived: 0 };
    traffic.set(kind, known);
    return known;
  };
  const countReceived = (request: S3Request, bytes: number): boolean => {
    trafficOf(request.kind).bytesReceived += bytes;
    if (request.kind !== "get") return false;
    const before = Math.floor(received / proxy.breakEvery);
    received += bytes;
    if (Math.floor(received / proxy.breakEvery) === before) return false;
    happened.push("broken get");
    return true;
  };

  const serve = async (
    request: S3Request,
    fault: S3Fault | undefined,
    incoming: IncomingMessage,
    outgoing: ServerResponse,
  ): Promise<void> => {
    const { socket } = incoming;
    const met = conditions?.check(request) ?? "go on";
    const refusal = REFUSALS[fault ?? ""] ?? (met === "go on" ? undefined : REFUSALS[String(met)]);
    if (refusal !== undefined) {
      await drained(incoming);
      outgoing.writeHead(refusal[0], { "content-type": "application/xml" }).end(errorDocument(refusal[1]));
      return;
    }
    const counted = trafficOf(request.kind);
    let said: Said | undefined = await passOn(
      incoming,
      { hostname, port, agent },
      {
        half: fault === "reset while sending",
        onBytes: (bytes) => {
          counted.bytesSent += bytes;
        },
      },
    );
    if (said !== undefined && request.kind !== "get") {
      const read = await whole(said);
      if (read.status < 300) conditions?.note(request, read.headers.etag ?? tagIn(read.text));
      said = read;
    }
    if (fault === "no answer") return;
    if (said === undefined || fault === "answer lost") socket.resetAndDestroy();
    else await answerWith(said, outgoing, fault, (bytes) => countReceived(request, bytes));
  };

  const server = createServer((incoming, outgoing) => {
    const { socket } = incoming;
    const request = s3Request(incoming);
    trafficOf(request.kind).requests += 1;
    if (request.kind === "begin") begun.add(request.key);
    const fault = proxy.plan(request);
    if (fault !== undefined) happened.push(`${fault} ${request.kind}`);
    const writes = ["put", "complete", "delete"].includes(request.kind);
    const served = async (): Promise<void> => {
      const done = writes ? await conditions?.turn(request.key) : undefined;
      try {
        await serve(request, fault, incoming, outgoing);
      } finally {
        done?.();
      }
    };
    // The connection to the client, or to the service, has closed.
    served().catch(() => {
      if (!outgoing.writableFinished) socket.destroy();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(async () => {
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    server.closeAllConnections();
    await closed;
    agent.destroy();
  });
  const proxy: S3FaultProxy = {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    plan: () => undefined,
    breakEvery: Number.POSITIVE_INFINITY,
    traffic: trafficOf,
    begun,
    happened,
    get requests() {
      return [...traffic.values()].reduce((sum, { requests }) => sum + requests, 0);
    },
  };
  return proxy;
}

async function drained(incoming: IncomingMessage): Promise<void> {
  for await (const _ of incoming);
}

/** Returns the ETag in the body of the response to completing an upload. */
function tagIn(text: string): string {
  return /<ETag>(?:&quot;|&#34;|")?([^<&"]+)/.exec(text)?.[1] ?? "";
}
