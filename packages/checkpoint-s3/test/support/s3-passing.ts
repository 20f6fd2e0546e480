import { request as ask } from "node:http";
import type { Agent, IncomingHttpHeaders, IncomingMessage, ServerResponse } from "node:http";
import { setTimeout as delay } from "node:timers/promises";
import type { S3Fault } from "./s3-faults.ts";

/** The response of a service, whose `body` has not been read. */
export interface Said {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: AsyncIterable<Buffer>;
}

const HOPS = new Set(["connection", "keep-alive", "transfer-encoding"]);
const DROP = 64 * 1024;
const BETWEEN_DROPS_MS = 2;

/**
 * Forwards a request, or only the first half of its body. In the latter case, returns undefined, because there is no
 * response.
 */
export async function passOn(
  incoming: IncomingMessage,
  to: { readonly hostname: string; readonly port: string; readonly agent: Agent },
  { half, onBytes }: { readonly half: boolean; readonly onBytes: (bytes: number) => void },
): Promise<Said | undefined> {
  const { method, url, headers } = incoming;
  // The host name must be the one that the client signed.
  const outgoing = ask({ ...to, method, path: url, headers });
  const answered = new Promise<IncomingMessage>((resolve, reject) => {
    outgoing.on("response", resolve).on("error", reject);
  });
  // The error is handled below, unless the request is abandoned before that.
  answered.catch(() => undefined);
  const most = half ? Math.floor(Number(headers["content-length"] ?? 0) / 2) : Number.POSITIVE_INFINITY;
  let sent = 0;
  try {
    for await (const chunk of incoming as AsyncIterable<Buffer>) {
      const piece = chunk.subarray(0, most - sent);
      sent += piece.length;
      onBytes(piece.length);
      if (!outgoing.write(piece)) await settled(outgoing, "drain");
      if (sent >= most) break;
    }
  } finally {
    if (half || !incoming.complete) outgoing.destroy();
  }
  if (half) return undefined;
  outgoing.end();
  const answer = await answered;
  return { status: answer.statusCode ?? 500, headers: answer.headers, body: answer };
}

/** Reads a small body completely. */
export async function whole({ status, headers, body }: Said): Promise<Said & { readonly text: string }> {
  const pieces: Buffer[] = [];
  for await (const piece of body) pieces.push(piece);
  const content = Buffer.concat(pieces);
  const text = content.toString("utf8");
  return { status, headers, body: once(content), text };
}

async function* once(content: Buffer): AsyncGenerator<Buffer, void, undefined> {
  if (content.length > 0) yield content;
}

/**
 * Sends a response with the given fault. `onBytes` is called with the bytes that are sent to the client, and may
 * request that the connection break there.
 */
export async function answerWith(
  { status, headers, body }: Said,
  outgoing: ServerResponse,
  fault: S3Fault | undefined,
  onBytes: (bytes: number) => boolean,
): Promise<void> {
  const kept = Object.entries(headers).filter(([name]) => !HOPS.has(name));
  outgoing.writeHead(status, Object.fromEntries(kept));
  const cut = fault === "reset while receiving" || fault === "short body" || fault === "silence";
  const length = Number(headers["content-length"] ?? 0);
  const most = cut && length > 0 ? Math.ceil(length / 2) : Number.POSITIVE_INFINITY;
  let sent = 0;
  for await (const chunk of body) {
    for (const drop of fault === "slow body" ? drops(chunk) : [chunk]) {
      const piece = drop.subarray(0, most - sent);
      sent += piece.length;
      if (!outgoing.write(piece)) await settled(outgoing, "drain");
      if (onBytes(piece.length)) {
        // A reset would also discard the content of the kernels' buffers, the amount of which depends on the load.
        outgoing.socket?.destroySoon();
        return;
      }
      if (outgoing.destroyed) return;
      if (fault === "slow body") await delay(BETWEEN_DROPS_MS);
    }
    if (sent < most) continue;
    if (fault === "reset while receiving") outgoing.socket?.resetAndDestroy();
    // The end is clean, as if a proxy had abandoned the response: only the length shows that something is missing.
    if (fault === "short body") outgoing.socket?.destroySoon();
    return;
  }
  outgoing.end();
}

function* drops(chunk: Buffer): Generator<Buffer, void, undefined> {
  for (let at = 0; at < chunk.length; at += DROP) yield chunk.subarray(at, at + DROP);
}

/** Waits for an event, or for the end of the connection. */
function settled(stream: NodeJS.EventEmitter, event: string): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      for (const name of [event, "close", "error"]) stream.off(name, done);
      resolve();
    };
    for (const name of [event, "close", "error"]) stream.on(name, done);
  });
}
