import { connect } from "node:net";
import { CairnError, errorMessage } from "@cairn/kv";
import type { NatsServer } from "./nats-server-url.ts";

/** How {@link answeringFirst} tries the servers. */
export interface ProbeOptions {
  /** How long a server may take (ms). */
  readonly timeout: number;
  /** The server waits for a TLS handshake before it says anything. */
  readonly silent: boolean;
  readonly signal: AbortSignal | undefined;
}

/**
 * The addresses, those of servers that answer first, each group in random order. When none answers it rejects with
 * `LOG_UNREACHABLE`. The client's own first connect leaves its socket open when a server takes the connection but is silent,
 * one more at each retry; asking first avoids that.
 */
export async function answeringFirst(
  servers: readonly NatsServer[],
  options: ProbeOptions,
): Promise<string[]> {
  const shuffled = servers
    .map((server) => ({ server, order: Math.random() }))
    .toSorted((a, b) => a.order - b.order)
    .map(({ server }) => server);
  const answers = await Promise.allSettled(shuffled.map((server) => probe(server, options)));
  options.signal?.throwIfAborted();
  const failed = answers.find((answer) => answer.status === "rejected");
  if (failed !== undefined && answers.every(({ status }) => status === "rejected")) {
    const place = servers.map(({ address }) => address).join(", ");
    throw new CairnError(
      "LOG_UNREACHABLE",
      `NATS at ${place} cannot be reached: ${errorMessage(failed.reason)}.`,
      {
        hint: "Check the servers of the log, and that nats-server runs.",
        cause: failed.reason,
      },
    );
  }
  const addresses = shuffled.map(({ address }) => address);
  const answered = (index: number): boolean => answers[index]?.status === "fulfilled";
  return [
    ...addresses.filter((_, index) => answered(index)),
    ...addresses.filter((_, index) => !answered(index)),
  ];
}

function probe(server: NatsServer, { timeout, silent, signal }: ProbeOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: server.host, port: server.port });
    const finish = (error?: Error): void => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
      socket.destroy();
      if (error === undefined) resolve();
      else reject(error);
    };
    const timer = setTimeout(() => finish(new Error(`no answer within ${timeout} ms`)), timeout);
    const abort = (): void => finish(new Error("given up"));
    signal?.addEventListener("abort", abort);
    socket.once("error", finish);
    socket.once("close", () => finish(new Error("it closed the connection")));
    // A server of NATS speaks first.
    socket.once(silent ? "connect" : "data", () => finish());
  });
}
