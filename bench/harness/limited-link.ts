import { once } from "node:events";
import { connect, createServer, type AddressInfo, type Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";

/** 1 Gbit/s in bytes per second. */
export const GIGABIT_PER_SECOND = 125_000_000;

/** A relay to a server with the bandwidth of a network. */
export interface LimitedLink {
  /** The port on 127.0.0.1. */
  readonly port: number;
  /** Returns the number of bytes that clients have sent so far, with the heads of their requests. */
  sentBytes(): number;
  /** Breaks all connections, and every new one, until `cut(false)`. */
  cut(isCut: boolean): void;
  close(): Promise<void>;
}

/** The resolution of timers. Shorter waits are skipped. */
const TICK_MS = 2;
/** What may be on its way to a receiver, in bytes: more than the link transmits during the delay of a request. */
const MAX_ON_WAY = 8 << 20;

/**
 * Relays connections to a server without TLS. Like a network adapter, it transmits at most `bytesPerSecond` in each
 * direction, for all connections together. Every response is `delayMs` late. It buffers nothing beyond the sockets and
 * what is on its way.
 */
export async function limitedLink(
  to: { readonly host: string; readonly port: number },
  bytesPerSecond: number,
  delayMs = 0,
): Promise<LimitedLink> {
  const sending = new Direction(bytesPerSecond, 0);
  const receiving = new Direction(bytesPerSecond, delayMs);
  const open = new Set<Socket>();
  let isCut = false;
  const server = createServer((client) => {
    if (isCut) {
      client.destroy();
      return;
    }
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
    sentBytes: () => sending.carriedBytes,
    cut(cut) {
      isCut = cut;
      if (cut) for (const socket of open) socket.destroy();
    },
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
  readonly delayMs: number;
  carriedBytes = 0;
  readonly #bytesPerMs: number;
  #freeAt = 0;

  constructor(bytesPerSecond: number, delayMs: number) {
    this.#bytesPerMs = bytesPerSecond / 1_000;
    this.delayMs = delayMs;
  }

  /** Resolves once `bytes` have been transmitted. */
  async carry(bytes: number): Promise<void> {
    this.carriedBytes += bytes;
    const now = performance.now();
    this.#freeAt = Math.max(this.#freeAt, now) + bytes / this.#bytesPerMs;
    const wait = this.#freeAt - now;
    if (wait > TICK_MS) await delay(wait);
  }
}

async function relay(from: Socket, to: Socket, direction: Direction): Promise<void> {
  try {
    let onWay = 0;
    let delivered = Promise.resolve();
    const deliver = async (chunk: Buffer, earlier: Promise<void>): Promise<void> => {
      if (direction.delayMs > 0) await delay(direction.delayMs);
      await earlier;
      if (!to.write(chunk)) await once(to, "drain");
      onWay -= chunk.length;
    };
    for await (const chunk of from as AsyncIterable<Buffer>) {
      await direction.carry(chunk.length);
      onWay += chunk.length;
      delivered = deliver(chunk, delivered);
      delivered.catch(() => to.destroy());
      if (direction.delayMs === 0 || onWay > MAX_ON_WAY) await delivered;
    }
    await delivered;
    to.end();
  } catch {
    // The other end sees the connection break, as it would over a network.
    to.destroy();
  }
}
