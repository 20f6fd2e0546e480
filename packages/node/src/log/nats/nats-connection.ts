import { CairnError, errorMessage, systemErrorCode } from "@cairn/kv";
import { connect, createInbox, DebugEvents, Events, type NatsConnection } from "nats";
import { credentialOptions, credentialsRefused, type NatsCredentials } from "./nats-credentials.ts";
import { answeringFirst } from "./nats-reachable.ts";
import { type NatsServer, parseServer } from "./nats-server-url.ts";
import { type NatsTls, tlsFailure } from "./nats-tls-failure.ts";

/** How to reach the NATS servers. */
export interface NatsConnectionOptions extends NatsCredentials {
  /** `nats://host:port`, `tls://…`, `host:port`; user and password, or a token, may stand before the `@`. */
  readonly servers: string | readonly string[];
  /** Shown in the server's list of connections. */
  readonly clientName?: string;
  /** What the subjects begin with on which the servers answer. Default `_INBOX`. */
  readonly inboxPrefix?: string;
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

const CONNECT_TIMEOUT_MS = 2_500;
/** How often it is looked again why a connection does not come back. */
const LOOK_AGAIN_MS = 2_000;
const REFUSED = /authori[sz]ation|authentication|credentials|nkey/i;

/**
 * A connection that comes back by itself for as long as it is not closed. Connecting for the first time is tried once:
 * rejects with `LOG_UNREACHABLE`, and leaves no socket behind.
 */
export class NatsLink {
  readonly connection: NatsConnection;
  /** The servers as the user wrote them, without secrets. */
  readonly place: string;
  /** What the subjects begin with on which the servers answer. */
  readonly inboxPrefix: string;
  readonly #options: NatsConnectionOptions;
  readonly #servers: readonly NatsServer[];
  readonly #tls: NatsTls;
  readonly #listeners = new Set<LinkListener>();
  #connected = true;
  /** Why it does not come back, as far as that is known. */
  #why: CairnError | undefined;
  #lookedAt = Number.NEGATIVE_INFINITY;

  private constructor(
    connection: NatsConnection,
    {
      options,
      servers,
      tls,
    }: { options: NatsConnectionOptions; servers: readonly NatsServer[]; tls: NatsTls },
  ) {
    this.connection = connection;
    this.place = placeOf(servers);
    this.inboxPrefix = options.inboxPrefix ?? "_INBOX";
    this.#options = options;
    this.#servers = servers;
    this.#tls = tls;
    void this.#watch();
  }

  static async open(options: NatsConnectionOptions): Promise<NatsLink> {
    const { connectTimeoutMs: timeout = CONNECT_TIMEOUT_MS, signal, inboxPrefix } = options;
    const written = typeof options.servers === "string" ? options.servers.split(",") : options.servers;
    const servers = written.map(parseServer);
    const tlsFirst = typeof options.tls === "object" && options.tls.handshakeFirst === true;
    const credentials = await credentialOptions(options, servers);
    const tls: NatsTls = credentials.tls ?? undefined;
    const addresses = await answeringFirst(servers, { timeout, silent: tlsFirst, signal });
    let connection: NatsConnection;
    try {
      connection = await connect({
        ...credentials,
        servers: addresses,
        ...(inboxPrefix === undefined ? {} : { inboxPrefix }),
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
      if (REFUSED.test(errorMessage(error))) {
        throw credentialsRefused(placeOf(servers), options, servers, error);
      }
      throw (await tlsFailure(servers, tls, timeout)) ?? connectError(placeOf(servers), error);
    }
    const link = new NatsLink(connection, { options, servers, tls });
    if (signal?.aborted === true) await link.close();
    signal?.throwIfAborted();
    return link;
  }

  /** Throws `LOG_UNREACHABLE` while the connection is down, so that nobody waits for a timeout to learn it. */
  check(): void {
    if (this.#connected && !this.connection.isClosed()) return;
    if (this.#why !== undefined) throw this.#why;
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

  /** A subject of its own below the prefix, to be answered on. */
  createInbox(): string {
    return createInbox(this.inboxPrefix);
  }

  async #watch(): Promise<void> {
    for await (const status of this.connection.status()) {
      const { type, data, permissionContext } = status;
      if (type === Events.Error && permissionContext === undefined && REFUSED.test(String(data))) {
        this.#why = credentialsRefused(this.place, this.#options, this.#servers, data);
      }
      if (type === "disconnect") {
        this.#connected = false;
        for (const listener of this.#listeners) listener.interrupted?.();
      } else if (type === "reconnect") {
        this.#connected = true;
        this.#why = undefined;
        for (const listener of this.#listeners) listener.restored?.();
      } else if (type === DebugEvents.Reconnecting) {
        void this.#lookWhy();
      } else if (permissionContext?.operation === "publish") {
        for (const listener of this.#listeners) listener.publishDenied?.(permissionContext.subject);
      }
    }
    this.#connected = false;
    for (const listener of this.#listeners) listener.interrupted?.();
  }

  /** The client does not say why a handshake came to nothing. */
  async #lookWhy(): Promise<void> {
    if (performance.now() - this.#lookedAt < LOOK_AGAIN_MS) return;
    this.#lookedAt = performance.now();
    const failure = await tlsFailure(
      this.#servers,
      this.#tls,
      this.#options.connectTimeoutMs ?? CONNECT_TIMEOUT_MS,
    );
    this.#lookedAt = performance.now();
    if (failure !== undefined && !this.#connected) this.#why = failure;
  }
}

function placeOf(servers: readonly NatsServer[]): string {
  return servers.map(({ address }) => address).join(", ");
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
  return new CairnError("LOG_UNREACHABLE", `NATS at ${place} cannot be reached: ${errorMessage(error)}.`, {
    hint: "Check the servers and the TLS settings of the log, and that nats-server runs.",
    cause: error,
  });
}
