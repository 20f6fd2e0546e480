import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as delay } from "node:timers/promises";

/** A receiver of webhooks that fails, is slow, breaks connections off, and goes away. */
export class BadReceiver {
  /** How often each delivery was received and acknowledged. */
  readonly received = new Map<string, number>();
  readonly port: number;
  readonly #random: () => number;
  #server: Server;

  private constructor(server: Server, random: () => number) {
    this.#server = server;
    this.#random = random;
    this.port = (server.address() as AddressInfo).port;
  }

  static async start(random: () => number): Promise<BadReceiver> {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const receiver = new BadReceiver(server, random);
    receiver.#serve();
    return receiver;
  }

  /** Refuses connections for a while. */
  async goAway(ms: number): Promise<void> {
    await this.close();
    await delay(ms);
    this.#server = createServer().listen(this.port, "127.0.0.1");
    await once(this.#server, "listening");
    this.#serve();
  }

  async close(): Promise<void> {
    const closed = once(this.#server, "close");
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
  }

  #serve(): void {
    this.#server.on("request", (request, response) => {
      request.resume();
      const luck = this.#random();
      if (luck < 0.02) {
        request.socket.destroy();
        return;
      }
      const respond = (): void => {
        const fails = luck < 0.1;
        const name = String(request.headers["idempotency-key"]);
        if (!fails) this.received.set(name, (this.received.get(name) ?? 0) + 1);
        response.writeHead(fails ? 503 : 204).end();
      };
      if (luck > 0.95) setTimeout(respond, this.#random() * 1_500);
      else respond();
    });
  }
}
