import type { IncomingMessage, Server } from "node:http";

/** Requests whose client waits to be told that it may send the body. */
const waiting = new WeakSet<IncomingMessage>();

/**
 * Has a server send `100 Continue` only where a body is about to be read. What its head alone decides (no such address, too large, not
 * allowed, lost) is answered without one; Node then ends the connection, whose next bytes nobody could tell from a body.
 */
export function continueWhenRead(server: Server): void {
  server.on("checkContinue", (request, response) => {
    waiting.add(request);
    request.on("newListener", function goOn(event) {
      if (event !== "data" && event !== "readable") return;
      request.off("newListener", goOn);
      waiting.delete(request);
      response.writeContinue();
    });
    server.emit("request", request, response);
  });
}

/** Whether nothing of the body has been asked for: then none is to be expected. */
export function isHeldBack(request: IncomingMessage): boolean {
  return waiting.has(request);
}
