import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { freePort } from "@cairn/log-nats/testing";

/** A real server from which documents are imported. */
export interface SourceServer {
  readonly url: string;
  /** Kills the server and removes its folder. */
  close(): Promise<void>;
}

/** Starts etcd with its own folder. */
export async function startEtcd(): Promise<SourceServer> {
  const [clients, peers] = [`http://127.0.0.1:${await freePort()}`, `http://127.0.0.1:${await freePort()}`];
  const options = {
    "listen-client-urls": clients,
    "advertise-client-urls": clients,
    "listen-peer-urls": peers,
    "initial-advertise-peer-urls": peers,
    "initial-cluster": `default=${peers}`,
  };
  return await startServer("etcd", clients, (dir) => flagsOf({ "data-dir": dir, ...options }));
}

/** Starts Redis without files. */
export async function startRedis(): Promise<SourceServer> {
  const port = await freePort();
  const options = { bind: "127.0.0.1", port: String(port), save: "" };
  return await startServer("redis-server", `redis://127.0.0.1:${port}`, (dir) =>
    flagsOf({ dir, ...options }),
  );
}

function flagsOf(options: Readonly<Record<string, string>>): string[] {
  return Object.entries(options).flatMap(([name, value]) => [`--${name}`, value]);
}

async function startServer(
  program: string,
  url: string,
  argsFor: (dir: string) => readonly string[],
): Promise<SourceServer> {
  const dir = await mkdtemp(path.join(tmpdir(), "cairn-source-"));
  const child = spawn(program, argsFor(dir), { stdio: "ignore" });
  const ended = Promise.race([
    once(child, "exit").then(([code]) => `${program} exited with ${String(code)}`),
    once(child, "error").then(([error]) => `${program} cannot be started (${String(error)}): install it`),
  ]);
  let failure: string | undefined;
  void ended.then((reason) => (failure = reason));
  const { hostname, port } = new URL(url);
  while (!(await listens(hostname, Number(port)))) {
    if (failure !== undefined) throw new Error(failure);
    await Promise.race([delay(20), ended]);
  }
  return {
    url,
    close: async () => {
      child.kill("SIGKILL");
      await ended;
      await rm(dir, { recursive: true, force: true });
    },
  };
}

function listens(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port });
    socket.once("connect", () => resolve(true)).once("error", () => resolve(false));
    socket.once("connect", () => socket.destroy());
  });
}
