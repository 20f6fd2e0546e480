import type { IncomingMessage, RequestListener, Server } from "node:http";
import type { Readable } from "node:stream";

/** Requests whose clients wait for `100 Continue` before they send the body. */
const waiting = new WeakSet<IncomingMessage>();

/**
 * Makes a server send `100 Continue` only when a body is about to be read. A request that is rejected because of its
 * headers alone gets only its response, and the connection closes: what follows could be a body or a request.
 */
export function continueWhenRead(server: Server, onRequest: RequestListener): void {
  // The response to an unknown expectation says so.
  server.on("checkExpectation", (request, response) => {
    waiting.add(request);
    onRequest(request, response);
  });
  server.on("checkContinue", (request, response) => {
    waiting.add(request);
    request.on("newListener", function onListener(event) {
      if (event !== "data" && event !== "readable") return;
      request.off("newListener", onListener);
      waiting.delete(request);
      response.writeContinue();
    });
    onRequest(request, response);
  });
}

/** Returns whether the client is still waiting for `100 Continue`. If it is, no body will follow. */
export function isHeldBack(request: IncomingMessage): boolean {
  return waiting.has(request);
}

/** Requests whose connections close after their responses, because the rest of their bodies is not awaited. */
const closing = new WeakSet<IncomingMessage>();

/** Makes the connection of a request close after an error response that is sent before the body has ended. */
export function closeAfterAnswer(request: IncomingMessage): void {
  closing.add(request);
}

export function closesAfterAnswer(request: IncomingMessage): boolean {
  return closing.has(request);
}

const MAX_DRAINED_BYTES = 64 * 1024 * 1024;

/**
 * Discards the rest of a body after an early response, because closing a connection with unread bytes resets it, which
 * hides the response. A client that sends more than `MAX_DRAINED_BYTES` is disconnected.
 */
export function drainBody(body: Readable): void {
  let left = MAX_DRAINED_BYTES;
  body.on("data", (chunk: Buffer) => {
    left -= chunk.length;
    if (left < 0) body.destroy();
  });
  body.resume();
}
