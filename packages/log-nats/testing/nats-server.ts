import { type ChildProcess, spawn } from "node:child_process";
import { randomInt } from "node:crypto";
import { once } from "node:events";
import { access, mkdtemp, rm } from "node:fs/promises";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { systemErrorCode } from "@cairn/kv";

/** A real nats-server with JetStream on its own port. Its store survives `kill` and `start`. */
export interface NatsTestServer {
  readonly url: string;
  readonly port: number;
  readonly storeDir: string;
  /** Kills the server with SIGKILL, as a crash would. */
  kill(): Promise<void>;
  /** Stops the server gracefully, and keeps its store. */
  stop(): Promise<void>;
  /** Starts the server again on the same port and store. */
  start(): Promise<void>;
  /**
   * Freezes the server (SIGSTOP) until {@link thaw}: connections stay open, and nothing responds.
   */
  freeze(): void;
  thaw(): void;
  /** Stops the server and removes its store. */
  close(): Promise<void>;
}

/** Options for starting a {@link NatsTestServer}. */
export interface NatsServerOptions {
  /** Additional arguments for the server, for example `["--user", "a", "--pass", "b"]`. */
  readonly args?: readonly string[];
  /** Whether JetStream is enabled. Defaults to true. */
  readonly jetStream?: boolean;
  /** The folder of the store. Defaults to a new temporary directory. If it is given, it is not removed. */
  readonly storeDir?: string;
  /** Whether the server sends nothing before TLS begins (`handshake_first`). */
  readonly silent?: boolean;
}

/** Starts a nats-server from the PATH, or Debian's /usr/sbin. */
export async function startNatsServer(options: NatsServerOptions = {}): Promise<NatsTestServer> {
  const port = await freePort();
  const storeDir = options.storeDir ?? (await mkdtemp(join(tmpdir(), "cairn-nats-")));
  const binary = await findBinary();
  const jetStream = (options.jetStream ?? true) ? ["-js", "-sd", storeDir] : [];
  const args = ["-a", "127.0.0.1", "-p", String(port), ...jetStream, ...(options.args ?? [])];
  let child: ChildProcess | undefined;

  const start = async (): Promise<void> => {
    const started = spawn(binary, args, { stdio: "ignore" });
    child = started;
    const exited = once(started, "exit");
    while (!(await answers(port, options.silent === true))) {
      if (started.exitCode !== null)
        throw new Error(`nats-server exited with ${started.exitCode}: ${args.join(" ")}`);
      await Promise.race([delay(10), exited]);
    }
    // nats-server 2.9 may panic if a message is requested while its stream is deleted. A supervisor restarts it.
    started.once("exit", () => {
      if (child === started) void start();
    });
  };
  const end = async (signal: NodeJS.Signals): Promise<void> => {
    const ending = child;
    child = undefined;
    if (ending === undefined || ending.exitCode !== null || ending.signalCode !== null) return;
    const exited = once(ending, "exit");
    ending.kill(signal);
    await exited;
  };

  await start();
  return {
    url: `nats://127.0.0.1:${port}`,
    port,
    storeDir,
    start,
    freeze: () => void child?.kill("SIGSTOP"),
    thaw: () => void child?.kill("SIGCONT"),
    kill: () => end("SIGKILL"),
    stop: () => end("SIGTERM"),
    close: async () => {
      await end("SIGKILL");
      if (options.storeDir === undefined) await rm(storeDir, { recursive: true, force: true });
    },
  };
}

/** The range of ports. It is below the ephemeral ports, which another process could get before the port is used. */
const PORTS = { from: 12_000, to: 32_000 };
const given = new Set<number>();

/** Returns a TCP port of 127.0.0.1 on which no process listens, and which no other call in this process returned. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(PORTS.from, PORTS.to);
    if (given.has(port) || !(await canListen(port))) continue;
    given.add(port);
    return port;
  }
}

async function canListen(port: number): Promise<boolean> {
  const server = createServer().listen(port, "127.0.0.1");
  try {
    await once(server, "listening");
  } catch (error) {
    if (systemErrorCode(error) === "EADDRINUSE") return false;
    throw error;
  }
  server.close();
  await once(server, "close");
  return true;
}

async function findBinary(): Promise<string> {
  const folders = [...(process.env["PATH"] ?? "").split(delimiter), "/usr/sbin", "/usr/local/bin"];
  for (const folder of folders) {
    const path = join(folder, "nats-server");
    const found = await access(path).then(
      () => true,
      () => false,
    );
    if (found) return path;
  }
  throw new Error("nats-server is not installed (Debian: apt-get install nats-server)");
}

function answers(port: number, silent: boolean): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: "127.0.0.1", port });
    const finish = (answered: boolean): void => {
      socket.destroy();
      resolve(answered);
    };
    // The greeting arrives only when the server is ready for clients.
    socket.once(silent ? "connect" : "data", () => finish(true));
    socket.once("error", () => finish(false));
    socket.once("close", () => finish(false));
  });
}
