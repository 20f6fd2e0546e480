import { connect, type JetStreamManager, type NatsConnection } from "nats";
import { afterAll, afterEach, beforeAll, beforeEach } from "vitest";
import { type NatsTxLogOptions, openNatsTxLog } from "@cairn/log-nats/src/nats-tx-log";
import type { TxLog } from "@cairn/engine";
import { type NatsTestServer, startNatsServer } from "@cairn/log-nats/testing";
import { bytes } from "@cairn/engine/testing";

/** A server for a test file. Each test has a new stream. */
export class NatsFixture {
  stream = "";
  stop = new AbortController();
  readonly #parts: { server: NatsTestServer; client: NatsConnection; manager: JetStreamManager }[] = [];
  readonly #logs: TxLog[] = [];
  #streams = 0;

  constructor() {
    beforeAll(async () => {
      const server = await startNatsServer();
      const client = await connect({ servers: server.url, maxReconnectAttempts: -1, reconnectTimeWait: 50 });
      this.#parts.push({ server, client, manager: await client.jetstreamManager() });
    });
    afterAll(async () => {
      await this.client.close();
      await this.server.close();
    });
    beforeEach(() => {
      this.#streams += 1;
      this.stream = `stream-${this.#streams}`;
      this.stop = new AbortController();
    });
    afterEach(async () => {
      this.stop.abort();
      for (const log of this.#logs.splice(0)) await log.close();
    });
  }

  get server(): NatsTestServer {
    return this.#part().server;
  }

  /** A connection that no log uses. */
  get client(): NatsConnection {
    return this.#part().client;
  }

  get manager(): JetStreamManager {
    return this.#part().manager;
  }

  /** Opens and creates the log, which is closed after the test. */
  async open(options: Partial<NatsTxLogOptions> = {}): Promise<TxLog> {
    const log = await openNatsTxLog({ servers: this.server.url, stream: this.stream, ...options });
    this.#logs.push(log);
    await log.create(bytes);
    return log;
  }

  #part(): { server: NatsTestServer; client: NatsConnection; manager: JetStreamManager } {
    const [part] = this.#parts;
    if (part === undefined) throw new Error("The server has not been started.");
    return part;
  }
}
