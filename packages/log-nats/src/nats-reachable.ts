import { systemRandom, CairnError, errorMessage, startTimer } from "@cairn/kv";
import { connect } from "node:net";
import type { NatsServer } from "@cairn/text";

interface ProbeOptions {
  /** The time that a server may take to respond (ms). */
  readonly timeout: number;
  /** True if the server expects a TLS handshake before it sends anything. */
  readonly silent: boolean;
  readonly signal: AbortSignal | undefined;
}

/**
 * Returns the addresses, responding servers first, each group in random order. Rejects with `LOG_UNREACHABLE` if none
 * responds: the client's own first connection would leak a socket per retry if a server stayed silent.
 */
export async function answeringFirst(
  servers: readonly NatsServer[],
  options: ProbeOptions,
): Promise<string[]> {
  const shuffled = servers
    .map((server) => ({ server, order: systemRandom() }))
    .toSorted((a, b) => a.order - b.order)
    .map(({ server }) => server);
  const answers = await Promise.allSettled(shuffled.map((server) => probe(server, options)));
  options.signal?.throwIfAborted();
  const failed = answers.find((answer) => answer.status === "rejected");
  if (failed !== undefined && answers.every(({ status }) => status === "rejected"))
    throw serversUnreachable(servers, failed.reason);
  const addresses = shuffled.map(({ address }) => address);
  const answered = (index: number): boolean => answers[index]?.status === "fulfilled";
  return [
    ...addresses.filter((_, index) => answered(index)),
    ...addresses.filter((_, index) => !answered(index)),
  ];
}

/** Returns the servers as the user wrote them, without secrets. */
export function serverList(servers: readonly NatsServer[]): string {
  return servers.map(({ address }) => address).join(", ");
}

/** Returns `LOG_UNREACHABLE`: there is no connection to any of the servers. */
export function serversUnreachable(servers: readonly NatsServer[], cause: unknown): CairnError {
  return logUnreachable(
    `NATS at ${serverList(servers)} cannot be reached: ${errorMessage(cause)}.`,
    `Make sure that nats-server is running, and check the servers and the TLS settings of the log ("handshake-first?" if the server's tls has handshake_first).`,
    cause,
  );
}

function probe(server: NatsServer, { timeout, silent, signal }: ProbeOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: server.host, port: server.port });
    const finish = (error?: Error): void => {
      cancel();
      signal?.removeEventListener("abort", abort);
      socket.destroy();
      if (error === undefined) resolve();
      else reject(error);
    };
    const cancel = startTimer(timeout, () => finish(new Error(`no response within ${timeout} ms`)));
    const abort = (): void => finish(new Error("given up"));
    signal?.addEventListener("abort", abort);
    socket.once("error", finish);
    socket.once("close", () => finish(new Error("it closed the connection")));
    // A NATS server sends the first message.
    socket.once(silent ? "connect" : "data", () => finish());
  });
}

/** Returns `LOG_UNREACHABLE`, after which a retry may succeed. */
export function logUnreachable(message: string, hint: string, cause?: unknown): CairnError {
  return new CairnError("LOG_UNREACHABLE", message, { hint, cause });
}
