import { connect } from "node:net";
import { CairnError, errorMessage, systemErrorCode } from "@cairn/kv";
import type { NatsServer } from "./nats-server-url.ts";
import { awaitsTls } from "./nats-tls-failure.ts";

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
    const silent = shuffled.filter((_, index) => tookConnection(answers[index]));
    throw (await unheard(options.silent ? [] : silent, options)) ?? unreachable(servers, failed.reason);
  }
  const addresses = shuffled.map(({ address }) => address);
  const answered = (index: number): boolean => answers[index]?.status === "fulfilled";
  return [
    ...addresses.filter((_, index) => answered(index)),
    ...addresses.filter((_, index) => !answered(index)),
  ];
}

/** Whether a server that answered nothing listens at all. */
function tookConnection(answer: PromiseSettledResult<void> | undefined): boolean {
  return answer?.status === "rejected" && systemErrorCode(answer.reason) === undefined;
}

async function unheard(
  servers: readonly NatsServer[],
  { timeout }: ProbeOptions,
): Promise<CairnError | undefined> {
  const waiting = await Promise.all(servers.map((server) => awaitsTls(server, timeout)));
  const { address } = servers.find((_, index) => waiting[index] === true) ?? {};
  if (address === undefined) return undefined;
  return new CairnError(
    "LOG_UNREACHABLE",
    `NATS at ${address} waits for TLS to begin before it says anything (handshake_first).`,
    { hint: `Set "handshake-first?" of the log's tls to true.` },
  );
}

function unreachable(servers: readonly NatsServer[], cause: unknown): CairnError {
  const place = servers.map(({ address }) => address).join(", ");
  return new CairnError("LOG_UNREACHABLE", `NATS at ${place} cannot be reached: ${errorMessage(cause)}.`, {
    hint: "Check the servers of the log, and that nats-server runs.",
    cause,
  });
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
