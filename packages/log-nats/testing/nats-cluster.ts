import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { NatsOperator } from "./nats-operator.ts";
import { freePort, type NatsTestServer, startNatsServer } from "./nats-server.ts";

/** A JetStream cluster of three real nats-servers on loopback. */
export interface NatsTestCluster {
  /** The addresses of all servers, for a client's `servers`. */
  readonly urls: readonly string[];
  readonly servers: readonly NatsTestServer[];
  /** Returns the server that leads `stream`. Waits until there is a leader. */
  leader(stream: string): Promise<NatsTestServer>;
  close(): Promise<void>;
}

const SIZE = 3;
const DEADLINE_MS = 30_000;

/** Starts a {@link NatsTestCluster}. Resolves once streams can be created. */
export async function startNatsCluster(): Promise<NatsTestCluster> {
  const folder = await mkdtemp(join(tmpdir(), "cairn-nats-cluster-"));
  const ports: number[] = [];
  for (let n = 0; n < SIZE; n += 1) ports.push(await freePort());
  const routes = ports.map((port) => `nats://127.0.0.1:${port}`).join(",");
  const servers = await Promise.all(
    ports.map(async (port, n) => {
      const storeDir = join(folder, `n${n}`);
      await mkdir(storeDir);
      const cluster = ["--cluster_name", "cairn-test", "--cluster", `nats://127.0.0.1:${port}`];
      const args = ["-n", `n${n}`, ...cluster, "--routes", routes];
      return await startNatsServer({ storeDir, args });
    }),
  );
  const close = async (): Promise<void> => {
    await Promise.all(servers.map((server) => server.close()));
    await rm(folder, { recursive: true, force: true });
  };
  const anyUrl = servers[0]?.url ?? "";
  try {
    // A cluster serves streams only once its servers have elected a leader.
    await untilDone(() =>
      NatsOperator.at(anyUrl, async (operator) => await operator.tryStream(SIZE), { stream: "cairn-probe" }),
    );
  } catch (error) {
    await close();
    throw error;
  }
  return {
    urls: servers.map(({ url }) => url),
    servers,
    async leader(stream) {
      const name = await untilDone(() => leaderOf(servers, stream));
      const found = servers[Number(name.slice(1))];
      if (found === undefined) throw new Error(`${name} is none of the servers.`);
      return found;
    },
    close,
  };
}

async function leaderOf(servers: readonly NatsTestServer[], stream: string): Promise<string> {
  let failure: unknown;
  for (const { url } of servers) {
    try {
      const info = await NatsOperator.at(url, async (operator) => await operator.info(), { stream });
      if (info.cluster?.leader !== undefined) return info.cluster.leader;
    } catch (error) {
      failure = error;
    }
  }
  throw failure ?? new Error(`The stream "${stream}" has no leader.`);
}

/** Retries `attempt` until it succeeds. After the deadline, throws the last failure. */
async function untilDone<T>(attempt: () => Promise<T>): Promise<T> {
  const deadline = performance.now() + DEADLINE_MS;
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      if (performance.now() > deadline) throw error;
    }
    await delay(100);
  }
}
