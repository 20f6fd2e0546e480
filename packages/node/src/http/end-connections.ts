import type { Socket } from "node:net";
import type { FastifyInstance } from "fastify";

/**
 * Lets `app` end each connection once the requests on it are answered when it closes. Node's own way leaves those of requests under
 * way open for more, until somebody's patience ends; and it cuts off an answer that is written but not sent yet.
 */
export function endConnectionsOnClose(app: FastifyInstance): void {
  const requests = new Map<Socket, number>();
  let closing = false;
  app.server.on("connection", (socket: Socket) => {
    if (closing) return void socket.destroy();
    requests.set(socket, 0);
    socket.once("close", () => requests.delete(socket));
  });
  app.addHook("onRequest", ({ raw: { socket } }, _reply, done) => {
    const underWay = requests.get(socket);
    if (underWay !== undefined) requests.set(socket, underWay + 1);
    done();
  });
  app.addHook("onSend", (_request, reply, _payload, done) => {
    if (closing) void reply.header("connection", "close");
    done();
  });
  app.addHook("onResponse", ({ raw: { socket } }, _reply, done) => {
    const underWay = requests.get(socket);
    // What was refused before the first hook was not counted.
    if (underWay !== undefined) requests.set(socket, Math.max(0, underWay - 1));
    if (closing && underWay === 1) socket.end();
    done();
  });
  app.addHook("preClose", (done) => {
    closing = true;
    for (const [socket, underWay] of requests) if (underWay === 0) socket.destroy();
    done();
  });
  // Called by the server's close.
  app.server.closeIdleConnections = () => undefined;
}
