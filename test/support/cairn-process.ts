import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import path from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import type { NodeStatus } from "@cairn/node";

/** The repository's root, whether this module runs from the sources or from dist. */
export const [ROOT = ""] = import.meta.dirname.split(/\/test\/support(?:\/dist)?$/);
/** The `cairn` command, as packages/cli builds it. */
export const CAIRN = path.join(ROOT, "packages/cli/dist/bundle/main.js");
/** The folder of the checkpointing page's three configurations, verbatim. */
const FIXTURES = path.join(ROOT, "test/fixtures");

/** Returns the path of one of the checkpointing page's configurations. */
export function fixtureConfig(name: "crux.edn" | "crux.json" | "crux.clj.edn"): string {
  return path.join(FIXTURES, name);
}

/** The exit code and output of a command. */
export interface CommandResult {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a cairn command and waits until it exits. */
export async function runCairn(
  args: readonly string[],
  options: { env?: NodeJS.ProcessEnv; cwd?: string; input?: AsyncIterable<string>; program?: string } = {},
): Promise<CommandResult> {
  const child = spawn(process.execPath, [options.program ?? CAIRN, ...args], {
    env: { ...process.env, ...options.env },
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    stdio: ["pipe", "pipe", "pipe"],
  });
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  child.stdout.on("data", (chunk: Buffer) => stdout.push(chunk));
  child.stderr.on("data", (chunk: Buffer) => stderr.push(chunk));
  const closed = once(child, "close") as Promise<[number | null]>;
  for await (const text of options.input ?? []) {
    if (!child.stdin.write(text)) await once(child.stdin, "drain");
  }
  child.stdin.end();
  const [code] = await closed;
  return { code, stdout: Buffer.concat(stdout).toString(), stderr: Buffer.concat(stderr).toString() };
}

/** Runs a cairn command. Throws with its stderr unless it exits with 0. */
export async function runCairnOrThrow(...command: Parameters<typeof runCairn>): Promise<CommandResult> {
  return succeeded(command[0], await runCairn(...command));
}

function succeeded(args: readonly string[], result: CommandResult): CommandResult {
  if (result.code !== 0) throw new Error(`cairn ${args.join(" ")}: ${result.stderr}`);
  return result;
}

/** Makes a node save a checkpoint. If another node is uploading one, runs the command again, as its hint says. */
export async function createCheckpoint(url: string, ...options: readonly string[]): Promise<CommandResult> {
  const args = ["checkpoint", "create", "--json", "--url", url, ...options];
  for (;;) {
    const result = await runCairn(args);
    if (!result.stderr.includes("CHECKPOINT_RUNNING")) return succeeded(args, result);
    await delay(500);
  }
}

/** Makes a node save a checkpoint unless its newest one contains everything, and returns the newest one's name. */
export async function saveCheckpoint(url: string): Promise<string> {
  await createCheckpoint(url);
  const { stdout } = await runCairnOrThrow(["checkpoint", "list", "--json", "--url", url]);
  return (JSON.parse(stdout.slice(0, stdout.indexOf("\n"))) as { name: string }).name;
}

/** Options for {@link NodeProcess.start}. */
export interface NodeProcessOptions {
  readonly id: string;
  /** The folder of the node's index and, by default, its log. */
  readonly dir: string;
  /** The working directory. Defaults to that of this process. */
  readonly cwd?: string;
  readonly args?: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
  /** The process's limit on open files. Defaults to the limit of this process. */
  readonly openFiles?: number;
  /** The command of another build. Defaults to {@link CAIRN}. */
  readonly program?: string;
}

/** A node in a separate process, started like a user's node. */
export class NodeProcess {
  readonly id: string;
  readonly lines: string[] = [];
  readonly #child: ChildProcess;
  readonly #exited: Promise<unknown>;
  readonly #url: Promise<string>;

  private constructor(id: string, child: ChildProcess) {
    this.id = id;
    this.#child = child;
    this.#exited = once(child, "close");
    this.#url = this.#readUrl();
    this.#url.catch(() => {});
  }

  /** Starts the process without waiting for it. */
  static start({ id, dir, cwd, args = [], env = {}, openFiles, program }: NodeProcessOptions): NodeProcess {
    const command = [process.execPath, program ?? CAIRN, "start", ...args];
    const limit = openFiles === undefined ? "" : `ulimit -n ${openFiles} && `;
    const child = spawn("bash", ["-c", `${limit}exec "$0" "$@"`, ...command], {
      env: { ...process.env, CAIRN_NODE_ID: id, CAIRN_DIR: dir, CAIRN_HTTP_PORT: "0", ...env },
      stdio: ["ignore", "pipe", "pipe"],
      ...(cwd !== undefined && { cwd }),
    });
    return new NodeProcess(id, child);
  }

  /** Waits until the HTTP server listens, and returns its URL. */
  async url(): Promise<string> {
    return await this.#url;
  }

  /** Waits until /health/ready returns 200. */
  async ready(timeoutMs = 60_000): Promise<void> {
    const url = await this.#url;
    const deadline = Date.now() + timeoutMs;
    for (;;) {
      const response = await fetch(`${url}/health/ready`);
      const body = await response.text();
      if (response.status === 200) return;
      if (Date.now() > deadline) throw new Error(`${this.id} is not ready: ${body}\n${this.output()}`);
      await delay(20);
    }
  }

  async status(): Promise<NodeStatus> {
    return (await (await fetch(`${await this.#url}/status`)).json()) as NodeStatus;
  }

  async digest(): Promise<{ txId: number; digest: string }> {
    return (await (await fetch(`${await this.#url}/api/v1/digest`)).json()) as {
      txId: number;
      digest: string;
    };
  }

  /** Kills the process with SIGKILL, as in a crash. */
  async kill(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#exited;
  }

  /** Stops the process gracefully and returns its exit code. */
  async stop(signal: "SIGTERM" | "SIGINT" = "SIGTERM"): Promise<number | null> {
    this.#child.kill(signal);
    await this.#exited;
    return this.#child.exitCode;
  }

  /** Waits until the process exits. */
  async ended(): Promise<void> {
    await this.#exited;
  }

  /** Sends a signal without waiting for its effect. */
  signal(name: "SIGSTOP" | "SIGCONT" | "SIGKILL"): void {
    this.#child.kill(name);
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  get exited(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  output(): string {
    return this.lines.join("\n");
  }

  async #readUrl(): Promise<string> {
    const { stdout, stderr } = this.#child;
    if (stdout === null || stderr === null) throw new Error("the process has no output");
    createInterface({ input: stderr }).on("line", (line) => this.lines.push(line));
    return await new Promise<string>((resolve, reject) => {
      createInterface({ input: stdout }).on("line", (line) => {
        this.lines.push(line);
        const url = /"url":"(https?:[^"]+)"/.exec(line)?.[1];
        if (url !== undefined) resolve(url);
      });
      this.#child.once("close", () => reject(new Error(`${this.id} ended:\n${this.output()}`)));
    });
  }
}
