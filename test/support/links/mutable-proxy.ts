import { once } from "node:events";
import { createConnection, createServer, type Socket } from "node:net";

/** A proxy between a client and a server that can be muted. */
export interface MutableProxy {
  readonly port: number | undefined;
  mute(): void;
  cut(): void;
  close(): Promise<void>;
}

/**
 * Starts a proxy between a client and a server. While it is muted, it drops the data that the server sends. A cut ends
 * the connections and unmutes the proxy. With `delayMs`, the server's data arrives later by this time.
 */
export async function startMutableProxy(target: number, delayMs = 0): Promise<MutableProxy> {
  const sockets = new Set<Socket>();
  let muted = false;
  const cut = (): void => {
    muted = false;
    for (const socket of sockets) socket.destroy();
  };
  const listener = createServer((near) => {
    const far = createConnection(target, "127.0.0.1");
    near.on("data", (data) => far.write(data));
    const pass = (data: Buffer): unknown => muted || near.write(data);
    far.on("data", (data: Buffer) => (delayMs === 0 ? pass(data) : setTimeout(pass, delayMs, data)));
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(socket);
      socket.on("error", () => other.destroy());
      socket.on("close", () => {
        sockets.delete(socket);
        other.destroy();
      });
    }
  }).listen(0, "127.0.0.1");
  await once(listener, "listening");
  const address = listener.address();
  return {
    port: typeof address === "object" ? address?.port : undefined,
    mute: (): void => {
      muted = true;
    },
    cut,
    close: async (): Promise<void> => {
      cut();
      listener.close();
      await once(listener, "close");
    },
  };
}
