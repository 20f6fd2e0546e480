import type { IncomingMessage, Server } from "node:http";
import type { Readable } from "node:stream";

/** Requests whose clients wait for `100 Continue` before they send the body. */
const waiting = new WeakSet<IncomingMessage>();

/**
 * Makes a server send `100 Continue` only when a body is about to be read. A request that is rejected because of its
 * headers alone (unknown address, too large, not allowed, a failed precondition) gets its response without it. Node
 * then closes the connection, since the following bytes could be a body or a request.
 */
export function continueWhenRead(server: Server): void {
  server.on("checkContinue", (request, response) => {
    waiting.add(request);
    request.on("newListener", function onListener(event) {
      if (event !== "data" && event !== "readable") return;
      request.off("newListener", onListener);
      waiting.delete(request);
      response.writeContinue();
    });
    server.emit("request", request, response);
  });
}

/** Returns whether the client still waits for `100 Continue`, so that no body will follow. */
export function isHeldBack(request: IncomingMessage): boolean {
  return waiting.has(request);
}

const MAX_DRAINED_BYTES = 64 * 1024 * 1024;

/**
 * Reads and discards the rest of a body if the response was sent before the body ended. Closing a connection with
 * unread bytes resets it, and the client sees the reset instead of the response. A client that never stops sending is
 * cut off.
 */
export function drainBody(body: Readable): void {
  let left = MAX_DRAINED_BYTES;
  body.on("data", (chunk: Buffer) => {
    left -= chunk.length;
    if (left < 0) body.destroy();
  });
  body.resume();
}
