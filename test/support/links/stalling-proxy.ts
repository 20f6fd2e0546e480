import { EventEmitter, once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";

/** A proxy that stops forwarding once a client has sent it a number of bytes. */
export interface StallingProxy {
  readonly url: string;
  /** Resolves when the proxy has stopped. */
  readonly stalled: Promise<void>;
  close(): void;
}

/** Starts a proxy for a node that forwards `bytes` of requests, and everything in the other direction until then. */
export async function startStallingProxy(target: string, bytes: number): Promise<StallingProxy> {
  const { hostname, port } = new URL(target);
  const sockets = new Set<Socket>();
  let left = bytes;
  const stall = new EventEmitter();
  const stalled = once(stall, "stalled");
  const server = createServer((client) => {
    const node = connect(Number(port), hostname);
    for (const socket of [client, node]) {
      sockets.add(socket);
      socket.on("error", () => undefined);
    }
    client.once("close", () => node.destroy());
    node.pipe(client);
    client.on("data", (piece: Buffer) => {
      if (left <= 0) return;
      left -= piece.length;
      node.write(piece);
      if (left <= 0) stall.emit("stalled");
    });
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    stalled: stalled.then(() => undefined),
    close: () => {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}
