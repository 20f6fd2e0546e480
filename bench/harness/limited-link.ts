import { once } from "node:events";
import { connect, createServer, type AddressInfo, type Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";

/** 1 Gbit/s in bytes per second. */
export const GIGABIT_PER_SECOND = 125_000_000;

/** A relay to a server with the bandwidth of a network. */
export interface LimitedLink {
  /** The port on 127.0.0.1. */
  readonly port: number;
  close(): Promise<void>;
}

/** The resolution of timers. Shorter waits are skipped. */
const TICK_MS = 2;

/**
 * Relays connections to a server without TLS. Like a network adapter, it transmits at most `bytesPerSecond` in each
 * direction, for all connections together. It buffers nothing beyond the sockets.
 */
export async function limitedLink(
  to: { readonly host: string; readonly port: number },
  bytesPerSecond: number,
): Promise<LimitedLink> {
  const sending = new Direction(bytesPerSecond);
  const receiving = new Direction(bytesPerSecond);
  const open = new Set<Socket>();
  const server = createServer((client) => {
    const upstream = connect(to);
    for (const socket of [client, upstream]) {
      socket.setNoDelay();
      open.add(socket);
      socket.once("close", () => open.delete(socket));
    }
    void relay(client, upstream, sending);
    void relay(upstream, client, receiving);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    async close() {
      const closed = once(server, "close");
      server.close();
      for (const socket of open) socket.destroy();
      await closed;
    },
  };
}

/** One direction of a link. */
class Direction {
  readonly #bytesPerMs: number;
  #freeAt = 0;

  constructor(bytesPerSecond: number) {
    this.#bytesPerMs = bytesPerSecond / 1_000;
  }

  /** Resolves once `bytes` have been transmitted. */
  async carry(bytes: number): Promise<void> {
    const now = performance.now();
    this.#freeAt = Math.max(this.#freeAt, now) + bytes / this.#bytesPerMs;
    const wait = this.#freeAt - now;
    if (wait > TICK_MS) await delay(wait);
  }
}

async function relay(from: Socket, to: Socket, direction: Direction): Promise<void> {
  try {
    for await (const chunk of from as AsyncIterable<Buffer>) {
      await direction.carry(chunk.length);
      if (!to.write(chunk)) await once(to, "drain");
    }
    to.end();
  } catch {
    // The other end sees the connection break, as it would over a network.
    to.destroy();
  }
}
