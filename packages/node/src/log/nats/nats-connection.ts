import { CairnError, errorMessage, systemErrorCode } from "@cairn/kv";
import { connect, type NatsConnection } from "nats";
import { credentialOptions, type NatsCredentials } from "./nats-credentials.ts";
import { answeringFirst } from "./nats-reachable.ts";
import { parseServer } from "./nats-server-url.ts";

/** How to reach the NATS servers. */
export interface NatsConnectionOptions extends NatsCredentials {
  /** `nats://host:port`, `tls://…`, `host:port`; user and password, or a token, may stand before the `@`. */
  readonly servers: string | readonly string[];
  /** Shown in the server's list of connections. */
  readonly clientName?: string;
  /** How long one server may take to answer, in milliseconds. Default 2,500. */
  readonly connectTimeoutMs?: number;
  readonly signal?: AbortSignal;
}

/** What a {@link NatsLink} tells those who depend on the connection. */
export interface LinkListener {
  /** What was under way is lost, in both directions. */
  interrupted?(): void;
  restored?(): void;
  /** The server refused to let us publish on `subject`. */
  publishDenied?(subject: string): void;
}

/**
 * A connection that comes back by itself for as long as it is not closed. Connecting for the first time is tried once:
 * rejects with `LOG_UNREACHABLE`, and leaves no socket behind.
 */
export class NatsLink {
  readonly connection: NatsConnection;
  /** The servers as the user wrote them, without secrets. */
  readonly place: string;
  readonly #listeners = new Set<LinkListener>();
  #connected = true;
  /** Whether it is down because the server does not take the credentials any more. */
  #isRefused = false;

  private constructor(connection: NatsConnection, place: string) {
    this.connection = connection;
    this.place = place;
    void this.#watch();
  }

  static async open(options: NatsConnectionOptions): Promise<NatsLink> {
    const { connectTimeoutMs: timeout = 2_500, signal } = options;
    const written = typeof options.servers === "string" ? options.servers.split(",") : options.servers;
    const servers = written.map(parseServer);
    const place = servers.map(({ address }) => address).join(", ");
    const tlsFirst = typeof options.tls === "object" && options.tls.handshakeFirst === true;
    const addresses = await answeringFirst(servers, { timeout, silent: tlsFirst, signal });
    let connection: NatsConnection;
    try {
      connection = await connect({
        ...(await credentialOptions(options, servers)),
        servers: addresses,
        // In the order in which they answered.
        noRandomize: true,
        name: options.clientName ?? "cairn",
        timeout,
        // Without end: a node outlasts its log's server.
        maxReconnectAttempts: -1,
        reconnectTimeWait: 250,
        reconnectJitter: 250,
        // A server that restarts may refuse everybody for a moment; a node has to outlast that.
        ignoreAuthErrorAbort: true,
        pingInterval: 10_000,
        noAsyncTraces: true,
      });
    } catch (error) {
      throw connectError(place, error);
    }
    const link = new NatsLink(connection, place);
    if (signal?.aborted === true) await link.close();
    signal?.throwIfAborted();
    return link;
  }

  /** Throws `LOG_UNREACHABLE` while the connection is down, so that nobody waits for a timeout to learn it. */
  check(): void {
    if (this.#connected && !this.connection.isClosed()) return;
    if (this.#isRefused) throw credentialsRefused(this.place);
    throw new CairnError("LOG_UNREACHABLE", `The connection to NATS at ${this.place} is down.`, {
      hint: "It is being tried again. Check that the server runs.",
    });
  }

  get connected(): boolean {
    return this.#connected && !this.connection.isClosed();
  }

  add(listener: LinkListener): void {
    this.#listeners.add(listener);
  }

  remove(listener: LinkListener): void {
    this.#listeners.delete(listener);
  }

  async close(): Promise<void> {
    await this.connection.close();
  }

  async #watch(): Promise<void> {
    for await (const status of this.connection.status()) {
      const { type, data, permissionContext } = status;
      if (permissionContext === undefined && REFUSED.test(String(data))) this.#isRefused = true;
      if (type === "disconnect") {
        this.#connected = false;
        for (const listener of this.#listeners) listener.interrupted?.();
      } else if (type === "reconnect") {
        this.#connected = true;
        this.#isRefused = false;
        for (const listener of this.#listeners) listener.restored?.();
      } else if (permissionContext?.operation === "publish") {
        for (const listener of this.#listeners) listener.publishDenied?.(permissionContext.subject);
      }
    }
    this.#connected = false;
    for (const listener of this.#listeners) listener.interrupted?.();
  }
}

function connectError(place: string, error: unknown): CairnError {
  if (error instanceof CairnError) return error;
  if (systemErrorCode(error) === "SERVER_OPT_NA") {
    return new CairnError(
      "LOG_UNREACHABLE",
      `NATS at ${place} does not offer TLS, which the log insists on.`,
      {
        hint: "Check the address, and the TLS settings of the log and of the server.",
        cause: error,
      },
    );
  }
  if (REFUSED.test(errorMessage(error))) return credentialsRefused(place, error);
  return new CairnError("LOG_UNREACHABLE", `NATS at ${place} cannot be reached: ${errorMessage(error)}.`, {
    hint: "Check the servers and the TLS settings of the log, and that nats-server runs.",
    cause: error,
  });
}

const REFUSED = /authori[sz]ation|authentication|credentials|nkey/i;

function credentialsRefused(place: string, cause?: unknown): CairnError {
  return new CairnError("LOG_UNREACHABLE", `NATS at ${place} does not accept the credentials.`, {
    hint: "Check user, password, token, or the credentials-file or nkey-seed-file of the log, and whether they have expired. A file is read again at each attempt, so that renewing it is enough.",
    cause,
  });
}
