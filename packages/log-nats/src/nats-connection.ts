import { CairnError, errorMessage, resolvable } from "@cairn/kv";
import { connect, createInbox, DebugEvents, Events, type NatsConnection, NatsError } from "nats";
import { credentialOptions, credentialsRefused, type NatsCredentials } from "./nats-credentials.ts";
import { answeringFirst, logUnreachable, serverList, serversUnreachable } from "./nats-reachable.ts";
import { omitUndefined, parseServer } from "@cairn/text";
import { type Attempt, REFUSED, refusal, saidBy } from "./nats-refusal.ts";

export interface NatsConnectionOptions extends NatsCredentials {
  /** `nats://host:port`, `tls://…` or `host:port`; `user:password@` or `token@` may precede the host. */
  readonly servers: string | readonly string[];
  /** The name shown in the server's list of connections. */
  readonly clientName?: string;
  /** The prefix of the subjects on which the servers reply. Defaults to `_INBOX`. */
  readonly inboxPrefix?: string;
  /** The time within which a server must respond (ms). Defaults to 2,500. */
  readonly connectTimeoutMs?: number;
  readonly signal?: AbortSignal;
}

export interface LinkListener {
  /** Called when the connection, and with it everything in flight in either direction, has been lost. */
  interrupted?(): void;
  restored?(): void;
  /** Called when the server denies publishing on `subject`. */
  publishDenied?(subject: string): void;
}

const CONNECT_TIMEOUT_MS = 2_500;
/** The limit of a server on the size of a message, with its headers, unless its max_payload sets another one (bytes). */
const DEFAULT_MAX_PAYLOAD = 1_048_576;
/** The minimum time between two looks whether a server's limit was raised. */
const LIMIT_INTERVAL_MS = 5_000;
/** The minimum time between two looks for lost responses: what loses them may do so again after each reconnection. */
const RESPONSES_INTERVAL_MS = 30_000;
/** How long each request of such a look waits for its response. */
const RESPONSE_MS = 5_000;
/** The minimum time between two diagnoses of a lost connection. */
const DIAGNOSIS_INTERVAL_MS = 2_000;

/**
 * A connection that reconnects by itself until it is closed. The first connection is attempted only once. If that
 * attempt fails, `open` rejects with `LOG_UNREACHABLE` and leaves no socket open.
 */
export class NatsLink {
  readonly connection: NatsConnection;
  /** The servers as the user wrote them, without secrets. */
  readonly place: string;
  /** The prefix of the subjects on which the servers reply. */
  readonly inboxPrefix: string;
  readonly #attempt: Attempt;
  readonly #listeners = new Set<LinkListener>();
  #connected = true;
  /** The reason why the connection is down, if known, or may soon be. */
  #cause: CairnError | undefined;
  /** When the server last reported an error. */
  #saidAt = Number.NEGATIVE_INFINITY;
  #diagnosedAt = Number.NEGATIVE_INFINITY;
  #limitSeenAt = Number.NEGATIVE_INFINITY;
  #responsesSoughtAt = Number.NEGATIVE_INFINITY;

  private constructor(connection: NatsConnection, attempt: Attempt) {
    this.connection = connection;
    this.place = serverList(attempt.servers);
    this.inboxPrefix = attempt.options.inboxPrefix ?? "_INBOX";
    this.#attempt = attempt;
    void this.#watch();
  }

  static async open(options: NatsConnectionOptions): Promise<NatsLink> {
    const { connectTimeoutMs: timeout = CONNECT_TIMEOUT_MS, signal, inboxPrefix } = options;
    const written = typeof options.servers === "string" ? options.servers.split(",") : options.servers;
    const servers = written.map(parseServer);
    const tlsFirst = typeof options.tls === "object" && options.tls.handshakeFirst === true;
    const credentials = await credentialOptions(options, servers);
    const attempt: Attempt = {
      options: { ...credentials, ...omitUndefined({ inboxPrefix }) },
      credentials: options,
      servers,
      timeoutMs: timeout,
    };
    const addresses = await answeringFirst(servers, { timeout, silent: tlsFirst, signal });
    let connection: NatsConnection;
    try {
      connection = await connect({
        ...attempt.options,
        servers: addresses,
        // The addresses are in order: those of servers that responded come first.
        noRandomize: true,
        name: options.clientName ?? "cairn",
        timeout,
        // The client never stops trying to reconnect, so that a node survives an outage of its log's servers.
        maxReconnectAttempts: -1,
        reconnectTimeWait: 250,
        reconnectJitter: 250,
        // A server that is restarting may refuse every client for a moment.
        ignoreAuthErrorAbort: true,
        pingInterval: 10_000,
        noAsyncTraces: true,
      });
    } catch (error) {
      if (REFUSED.test(errorMessage(error))) {
        throw credentialsRefused(serverList(servers), options, servers, error);
      }
      throw (await refusal(attempt)) ?? serversUnreachable(servers, error);
    }
    const link = new NatsLink(connection, attempt);
    if (signal?.aborted === true) await link.close();
    signal?.throwIfAborted();
    return link;
  }

  /** Throws `LOG_UNREACHABLE` while the connection is down, so that callers need not wait for a timeout. */
  check(): void {
    if (!this.connected) throw this.down();
  }

  /**
   * Returns the response to a request that changes nothing. Rejects with `LOG_UNREACHABLE` as soon as the connection is
   * lost: the response is then lost as well, and the client would wait for it until its timeout.
   */
  async answer<T>(request: Promise<T>): Promise<T> {
    const lost = resolvable();
    const listener = { interrupted: lost.resolve };
    this.add(listener);
    try {
      return await Promise.race([request, lost.promise.then(() => Promise.reject(this.down()))]);
    } finally {
      this.remove(listener);
    }
  }

  get connected(): boolean {
    return this.#connected && !this.connection.isClosed();
  }

  /** The limit on the size of a message, with its headers, when the connection was made (bytes). */
  get maxPayload(): number {
    return this.connection.info?.max_payload ?? DEFAULT_MAX_PAYLOAD;
  }

  get isLimited(): boolean {
    return this.maxPayload < DEFAULT_MAX_PAYLOAD;
  }

  /** Connects anew if the limit was raised since: a server that reloads its configuration tells only new connections. */
  async seekHigherLimit(): Promise<void> {
    if (!this.connected || performance.now() - this.#limitSeenAt < LIMIT_INTERVAL_MS) return;
    this.#limitSeenAt = performance.now();
    const { options, servers, timeoutMs: timeout } = this.#attempt;
    const addresses = servers.map(({ address }) => address);
    const look = { ...options, servers: addresses, name: "cairn look", timeout, reconnect: false };
    try {
      const other = await connect(look);
      const isRaised = (other.info?.max_payload ?? 0) > this.maxPayload;
      await other.close();
      if (isRaised) await this.connection.reconnect();
    } catch {
      // The connection that exists continues, and there is another look later.
    }
  }

  /**
   * Connects anew, which renews all subscriptions, if the server has lost, or never received, the one on which it
   * responds to all requests. If it does not respond on another one either, it is slow, or has no leader.
   */
  async seekLostResponses(subject: string): Promise<void> {
    if (!this.connected || performance.now() - this.#responsesSoughtAt < RESPONSES_INTERVAL_MS) return;
    this.#responsesSoughtAt = performance.now();
    const failureOf = async (noMux: boolean): Promise<unknown> => {
      try {
        await this.answer(this.connection.request(subject, "", { timeout: RESPONSE_MS, noMux }));
        return undefined;
      } catch (error) {
        return error;
      }
    };
    if ((await failureOf(true)) !== undefined || !isTimeout(await failureOf(false))) return;
    // A connection that ends meanwhile is renewed anyway.
    await this.connection.reconnect().catch(() => {});
  }

  add(listener: LinkListener): void {
    this.#listeners.add(listener);
  }

  remove(listener: LinkListener): void {
    this.#listeners.delete(listener);
  }

  async close(): Promise<void> {
    this.#cause = new CairnError("LOG_UNREACHABLE", `The connection to NATS at ${this.place} was closed.`);
    this.#connected = false;
    await this.connection.close();
  }

  /** What the server last said is wrong with this connection; undefined if nothing is. */
  get said(): string | undefined {
    return this.#cause?.cause instanceof Error ? this.#cause.cause.message : undefined;
  }

  createInbox(): string {
    return createInbox(this.inboxPrefix);
  }

  down(): CairnError {
    return (
      this.#cause ??
      logUnreachable(
        `The connection to NATS at ${this.place} is down.`,
        "Make sure that the server is running. Cairn keeps trying to reconnect.",
      )
    );
  }

  async #watch(): Promise<void> {
    for await (const status of this.connection.status()) {
      const { type, data, permissionContext } = status;
      if (type === Events.Error && permissionContext === undefined) {
        this.#saidAt = performance.now();
        this.#cause = saidBy(this.place, lastWords(this.connection) ?? String(data), this.#attempt);
      }
      if (type === "disconnect") {
        // An attempt to reconnect that fails ends in the same way. What was found out about it remains.
        if (this.#connected && !this.#hasJustSaid) this.#cause = undefined;
        this.#connected = false;
        for (const listener of this.#listeners) listener.interrupted?.();
      } else if (type === "reconnect") {
        this.#connected = true;
        this.#cause = undefined;
        for (const listener of this.#listeners) listener.restored?.();
      } else if (type === DebugEvents.Reconnecting) {
        void this.#diagnose();
      } else if (permissionContext?.operation === "publish") {
        for (const listener of this.#listeners) listener.publishDenied?.(permissionContext.subject);
      }
    }
    this.#connected = false;
    for (const listener of this.#listeners) listener.interrupted?.();
  }

  /** The client does not report why a server refuses the connection. */
  async #diagnose(): Promise<void> {
    if (performance.now() - this.#diagnosedAt < DIAGNOSIS_INTERVAL_MS) return;
    this.#diagnosedAt = performance.now();
    const found = await refusal(this.#attempt);
    this.#diagnosedAt = performance.now();
    if (!this.#connected && (found !== undefined || !this.#hasJustSaid)) this.#cause = found;
  }

  /** What the server said long before is not the reason for a lost connection. */
  get #hasJustSaid(): boolean {
    return performance.now() - this.#saidAt <= DIAGNOSIS_INTERVAL_MS;
  }
}

/** Whether a request failed because no response arrived in time. */
export function isTimeout(error: unknown): boolean {
  return error instanceof NatsError && error.code === "TIMEOUT";
}

/** Returns the server's last error in its own words, of which the client passes only a code on. */
function lastWords(connection: NatsConnection): string | undefined {
  const { protocol } = connection as { readonly protocol?: { readonly lastError?: unknown } };
  return protocol?.lastError instanceof Error ? protocol.lastError.message.replaceAll("'", "") : undefined;
}
