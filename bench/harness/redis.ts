import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { freePort } from "@cairn/log-nats/testing";

/** A Redis that flushes every write before it responds. */
export interface RedisServer {
  readonly port: number;
  readonly pid: number;
  stop(): Promise<void>;
}

/** Starts Redis with its data in `dir`. */
export async function startRedis(dir: string): Promise<RedisServer> {
  await mkdir(dir);
  const port = await freePort();
  const options = { port, bind: "127.0.0.1", dir, appendonly: "yes", appendfsync: "always", save: "" };
  const args = Object.entries(options).flatMap(([name, value]) => [`--${name}`, String(value)]);
  const child = spawn("redis-server", args, { stdio: "ignore" });
  const exited = once(child, "exit");
  for (;;) {
    try {
      const connection = await RedisConnection.open(port);
      connection.close();
      break;
    } catch (error) {
      if (child.exitCode !== null) throw error;
      await delay(20);
    }
  }
  return {
    port,
    pid: child.pid ?? 0,
    stop: async () => {
      child.kill("SIGTERM");
      await exited;
    },
  };
}

/** A reply as far as the bench needs it: text, or null. */
type Reply = string | null;

/** A connection to Redis that sends one command after another. */
export class RedisConnection {
  readonly #socket: Socket;
  #text = "";
  #reply: { resolve(reply: Reply): void; reject(error: Error): void } | undefined;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.setEncoding("utf8");
    socket.on("data", (text: string) => this.#take(text));
    socket.on("error", (error) => this.#reply?.reject(error));
  }

  static async open(port: number): Promise<RedisConnection> {
    const socket = connect(port, "127.0.0.1").setNoDelay();
    await once(socket, "connect");
    return new RedisConnection(socket);
  }

  /** Sends a command, and returns its reply. Its arguments are ASCII. */
  async send(...command: readonly string[]): Promise<Reply> {
    const parts = command.map((part) => `$${part.length}\r\n${part}\r\n`);
    return await new Promise((resolve, reject) => {
      this.#reply = { resolve, reject };
      this.#socket.write(`*${command.length}\r\n${parts.join("")}`);
    });
  }

  close(): void {
    this.#socket.destroy();
  }

  #take(text: string): void {
    this.#text += text;
    const end = this.#text.indexOf("\r\n");
    if (end < 0) return;
    const first = this.#text.slice(1, end);
    const isBulk = this.#text.startsWith("$") && first !== "-1";
    const next = isBulk ? end + 2 + Number(first) + 2 : end + 2;
    if (this.#text.length < next) return;
    const { 0: kind } = this.#text;
    const value = isBulk ? this.#text.slice(end + 2, next - 2) : first === "-1" ? null : first;
    this.#text = this.#text.slice(next);
    const reply = this.#reply;
    if (kind === "-") reply?.reject(new Error(`Redis replied: ${first}`));
    else reply?.resolve(value);
  }
}
