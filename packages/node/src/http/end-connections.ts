import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import type { FastifyInstance } from "fastify";

/** A connection's requests that were taken: how many are not answered yet, and the one whose answer is the last. */
interface Taken {
  underWay: number;
  last?: IncomingMessage;
}

/** For a client that keeps its side open, or sends on and on. */
const LINGER_MS = 500;

/**
 * Ends a connection, and reads on for a moment: one that is closed over unread bytes is reset, and a client that still sends sees that
 * instead of the answers that are on their way to it.
 */
function endGently(socket: Socket): void {
  if (socket.writableEnded) return;
  socket.end();
  const linger = setTimeout(() => socket.destroy(), LINGER_MS);
  socket.once("close", () => clearTimeout(linger));
}

/**
 * Lets `app` end each connection once the requests on it are answered when it closes. Node's own way leaves those of requests under
 * way open for more, until somebody's patience ends; and it cuts off an answer that is written but not sent yet. What was sent ahead
 * (pipelined) and taken is answered before the end is told; what comes later is not taken at all, so that nothing is done unanswered.
 */
export function endConnectionsOnClose(app: FastifyInstance): void {
  const connections = new Map<Socket, Taken>();
  let closing = false;
  app.server.on("connection", (socket: Socket) => {
    if (closing) return void socket.destroy();
    connections.set(socket, { underWay: 0 });
    socket.once("close", () => connections.delete(socket));
  });
  app.addHook("onRequest", ({ raw }, reply, done) => {
    // Its connection ends before it could be answered.
    if (closing) return void reply.hijack();
    const taken = connections.get(raw.socket);
    if (taken !== undefined) {
      taken.underWay += 1;
      taken.last = raw;
    }
    done();
  });
  app.addHook("onSend", ({ raw }, reply, _payload, done) => {
    // What was refused before the first hook was not taken.
    const last = connections.get(raw.socket)?.last ?? raw;
    if (closing && last === raw) void reply.header("connection", "close");
    done();
  });
  app.addHook("onResponse", ({ raw: { socket } }, _reply, done) => {
    const taken = connections.get(socket);
    if (taken !== undefined) {
      if (closing && taken.underWay === 1) endGently(socket);
      taken.underWay = Math.max(0, taken.underWay - 1);
    }
    done();
  });
  app.addHook("preClose", (done) => {
    closing = true;
    for (const [socket, { underWay }] of connections) {
      // Called behind an answer that says it is the last.
      socket.destroySoon = () => endGently(socket);
      if (underWay === 0) endGently(socket);
    }
    done();
  });
  // Called by the server's close.
  app.server.closeIdleConnections = () => undefined;
}
