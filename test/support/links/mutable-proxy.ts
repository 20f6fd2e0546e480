import { once } from "node:events";
import { createConnection, createServer, type Socket } from "node:net";

/** A proxy between a client and a server that can be muted. */
export interface MutableProxy {
  readonly port: number | undefined;
  mute(): void;
  cut(): void;
  /** Drops the first match from what clients send. Resolves when that has happened. */
  swallow(pattern: RegExp): Promise<void>;
  close(): Promise<void>;
}

/**
 * Starts a proxy between a client and a server. While it is muted, it drops the data that the server sends. A cut ends
 * the connections and unmutes the proxy. With `delayMs`, the server's data arrives later by this time.
 */
export async function startMutableProxy(target: number, delayMs = 0): Promise<MutableProxy> {
  const sockets = new Set<Socket>();
  let muted = false;
  let swallowing: { readonly pattern: RegExp; readonly done: () => void } | undefined;
  const passed = (data: Buffer): Buffer => {
    if (swallowing === undefined) return data;
    const all = data.toString("latin1");
    const rest = all.replace(swallowing.pattern, "");
    if (rest === all) return data;
    swallowing.done();
    swallowing = undefined;
    return Buffer.from(rest, "latin1");
  };
  const cut = (): void => {
    muted = false;
    for (const socket of sockets) socket.destroy();
  };
  const listener = createServer((near) => {
    const far = createConnection(target, "127.0.0.1");
    near.on("data", (data: Buffer) => far.write(passed(data)));
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
    swallow: (pattern) =>
      new Promise((done) => {
        swallowing = { pattern, done };
      }),
    close: async (): Promise<void> => {
      cut();
      listener.close();
      await once(listener, "close");
    },
  };
}
