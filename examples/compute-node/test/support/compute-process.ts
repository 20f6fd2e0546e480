import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { CairnClient } from "@cairn/client";

/** The path of the built program. */
export const MAIN = fileURLToPath(new URL("../../dist/src/main.js", import.meta.url));

/** The line that the program prints when it is ready. */
export interface Greeting {
  readonly ready: string;
  readonly txId: number;
  readonly counters: Readonly<Record<string, number>>;
}

/** A compute node in a separate process, started as the README describes. */
export class ComputeProcess {
  readonly greeting: Greeting;
  /** The number of executions that the previous process left running. */
  readonly abandoned: number;
  readonly client: CairnClient;
  readonly #child: ChildProcess;
  readonly #closed: Promise<unknown>;

  private constructor(child: ChildProcess, closed: Promise<unknown>, greeting: Greeting, abandoned: number) {
    this.greeting = greeting;
    this.abandoned = abandoned;
    this.client = new CairnClient({ urls: greeting.ready });
    this.#child = child;
    this.#closed = closed;
  }

  /** Starts a compute node in a folder and waits until it runs executions. */
  static async start(folder: string, keepFor: string): Promise<ComputeProcess> {
    const env = { ...process.env, CAIRN_DIR: folder, CAIRN_HTTP_PORT: "0", KEEP_FOR: keepFor, SLOTS: "16" };
    const child = spawn(process.execPath, [MAIN], { env, stdio: ["ignore", "pipe", "inherit"] });
    const closed = once(child, "close");
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    const [greeting, { abandoned }] = [
      await nextLine<Greeting>(lines),
      await nextLine<{ abandoned: number }>(lines),
    ];
    return new ComputeProcess(child, closed, greeting, abandoned);
  }

  /** Kills the process with SIGKILL, like a crash. */
  async kill(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#closed;
  }

  /** Stops the process gracefully and returns its exit code. */
  async stop(): Promise<number | null> {
    this.#child.kill("SIGTERM");
    await this.#closed;
    return this.#child.exitCode;
  }
}

async function nextLine<T>(lines: AsyncIterator<string>): Promise<T> {
  const line = await lines.next();
  if (line.done === true) throw new Error("the compute node ended before it was ready");
  return JSON.parse(line.value) as T;
}
