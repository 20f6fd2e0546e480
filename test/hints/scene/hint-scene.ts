import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { ErrorCode } from "@cairn/kv";
import type { NodeStatus } from "@cairn/node";
import { NatsOperator, type NatsTestServer, startNatsServer } from "@cairn/log-nats/testing";
import { CAIRN, type CommandResult, NodeProcess, runCairn } from "@cairn/test-support/cairn-process";
import { INLINE, namedCommand, shellWord } from "@cairn/text";
import { text as textOf } from "node:stream/consumers";

const POLL_MS = 100;
const TIMEOUT_MS = 90_000;

/** Options for a node of a scene. `settings` has the same form as for `-j`. */
export interface NodeStart {
  readonly settings?: object;
  readonly env?: NodeJS.ProcessEnv;
  readonly openFiles?: number;
}

/** A small cluster on one nats-server and one folder of checkpoints, and an operator's terminal with the nodes' environment. */
export class HintScene {
  readonly folder: string;
  readonly nats: NatsTestServer;
  readonly nodes = new Map<string, NodeProcess>();
  /** The options with which each node was last started. */
  readonly starts = new Map<string, NodeStart>();
  /** The operator's steps since {@link beginRepair}. */
  steps: string[] = [];
  /** Everything that the operator has read. */
  transcript = "";
  /** The last command, with its input. */
  lastCommand = "";
  /** The token that nodes require, and that commands send by default. */
  token = "";
  /** Overrides the environment of every process of the scene. */
  readonly shared: NodeJS.ProcessEnv = {};
  readonly #cleanups: (() => Promise<unknown>)[] = [];
  #since = Date.now();

  private constructor(folder: string, nats: NatsTestServer) {
    this.folder = folder;
    this.nats = nats;
  }

  static async open({ args = [], config }: { args?: readonly string[]; config?: string } = {}) {
    const folder = await mkdtemp(path.join(tmpdir(), "cairn-hints-"));
    const storeDir = path.join(folder, "nats");
    await mkdir(storeDir);
    const file = path.join(folder, "nats.conf");
    if (config !== undefined) await writeFile(file, config);
    const configured = config === undefined ? [] : ["-c", file];
    return new HintScene(folder, await startNatsServer({ storeDir, args: [...args, ...configured] }));
  }

  /** Returns the environment of a node, and of commands on its machine. */
  env(id = "a"): NodeJS.ProcessEnv {
    return {
      NATS_URL: this.nats.url,
      CAIRN_CHECKPOINT_PATH: this.path("checkpoints"),
      CAIRN_NODE_ID: id,
      CAIRN_DIR: this.path(id),
      ...(this.token === "" ? {} : { CAIRN_AUTH_TOKEN: this.token, CAIRN_HTTP_AUTH_TOKEN: this.token }),
      ...this.shared,
      ...this.starts.get(id)?.env,
    };
  }

  path(...names: readonly string[]): string {
    return path.join(this.folder, ...names);
  }

  /** Starts a node without waiting for it. */
  start(id: string, options: NodeStart = {}): NodeProcess {
    const { settings, openFiles } = options;
    this.starts.set(id, options);
    const args = settings === undefined ? [] : ["-j", JSON.stringify(settings)];
    const limit = openFiles === undefined ? {} : { openFiles };
    const node = NodeProcess.start({ id, dir: this.path(id), args, env: this.env(id), ...limit });
    this.nodes.set(id, node);
    return node;
  }

  /** Starts a node and waits until it is ready. */
  async ready(id: string, options: NodeStart = {}): Promise<NodeProcess> {
    const node = this.start(id, options);
    await node.ready();
    return node;
  }

  /** Starts a node that must exit by itself, and returns its output. */
  async startRefused(id: string, options: NodeStart = {}): Promise<string> {
    const node = this.start(id, options);
    await node.ended();
    this.nodes.delete(id);
    this.lastCommand = `start (as node ${id})`;
    return this.record(node.output());
  }

  node(id: string): NodeProcess {
    const node = this.nodes.get(id);
    if (node === undefined) throw new Error(`there is no node ${id}`);
    return node;
  }

  async stop(id: string): Promise<void> {
    await this.node(id).stop();
    this.nodes.delete(id);
  }

  /** Puts the documents `k<from>` to `k<to>` through a node. */
  async fill(id: string, from: number, to: number): Promise<void> {
    for (let n = from; n <= to; n += 1) {
      const status = await this.put(id, `k${n}`, { n });
      if (status !== 200) throw new Error(`k${n} was answered with ${status}`);
    }
  }

  /** Puts `documents` of `bytes` each, which do not compress. */
  async fillWith(id: string, documents: number, bytes: number): Promise<void> {
    for (let n = 0; n < documents; n += 1) {
      await this.put(id, `large${n}`, randomBytes((bytes * 3) / 4).toString("base64"));
    }
  }

  /** Puts a document, waits until it can be read, and returns the HTTP status. */
  async put(id: string, name: string, document: unknown): Promise<number> {
    const body = JSON.stringify({ ops: [["put", "things", `default/${name}`, document]] });
    const headers = this.token === "" ? {} : { authorization: `Bearer ${this.token}` };
    const url = `${await this.node(id).url()}/api/v1/tx?await=true`;
    const response = await fetch(url, { method: "POST", body, headers });
    await response.arrayBuffer();
    return response.status;
  }

  /** Marks the moment at which the operator begins the repair. */
  beginRepair(): void {
    this.steps = [];
    this.#since = Date.now();
  }

  /** The time in seconds since {@link beginRepair}. */
  get seconds(): number {
    return (Date.now() - this.#since) / 1_000;
  }

  /** Performs a step of the repair that is not a cairn command. */
  async step<T>(description: string, act: () => Promise<T>): Promise<T> {
    this.steps.push(description);
    return await act();
  }

  /** Restarts a node, or starts a stopped one, with a changed configuration. Counts as a step. */
  async restart(id: string, options: NodeStart = {}): Promise<void> {
    const changes = { ...options.settings, ...options.env };
    const changed = Object.keys(changes).length === 0 ? "" : ` with ${JSON.stringify(changes)}`;
    await this.step(`restart node ${id}${changed}`, async () => {
      if (this.nodes.has(id)) await this.stop(id);
      this.start(id, options);
    });
  }

  /** Runs a command (without `cairn`) that must succeed, as a step of the repair. */
  async runStep(command: string, options: { on?: string; input?: string } = {}): Promise<CommandResult> {
    this.steps.push(`cairn ${command}`);
    const isPrinted = namedCommand(command)?.asksNode === false && !command.includes(" -f ");
    const result = isPrinted ? await this.runPrinted(command, options.on) : await this.run(command, options);
    if (result.code !== 0) throw new Error(`cairn ${command}: ${result.stderr}`);
    return result;
  }

  /**
   * Runs a command that needs no node exactly as the operator has read it (with what follows it there), in a shell with
   * an empty folder and an empty environment. Does not count as a step.
   */
  async runPrinted(command: string, on = "a"): Promise<CommandResult> {
    const { words = command, rest = "" } = namedCommand(command) ?? {};
    const value = `(?:'[^']*'|"[^"]*"|\\S+)`;
    const line = `(?:cd ${value} && )?(?:\\w+=${value} )*cairn ${words}(?: -[fj] (?:'[^']*'|[^\\s,;)]+))*`;
    const read = [...this.transcript.replaceAll(/\s+/g, " ").matchAll(new RegExp(line, "g"))].map(
      ([one]) => one,
    );
    const printed = read.findLast((one) => one.includes(`CAIRN_NODE_ID=${on} `)) ?? read.at(-1);
    if (printed === undefined) throw new Error(`nothing says how to run cairn ${words}:\n${this.transcript}`);
    const { settings = {} } = this.starts.get(on) ?? {};
    const given = printed.replace(INLINE, `-j ${shellWord(JSON.stringify(settings))}`);
    this.lastCommand = `${given}${rest}`;
    const [bin, cwd] = [this.path("bin"), await mkdtemp(path.join(tmpdir(), "cairn-empty-"))];
    this.onClose(() => rm(cwd, { recursive: true, force: true }));
    await mkdir(bin, { recursive: true });
    const program = `#!/bin/sh\nexec "${process.execPath}" "${CAIRN}" "$@"\n`;
    await writeFile(path.join(bin, "cairn"), program, { mode: 0o755 });
    const env = { PATH: `${bin}:/usr/bin:/bin` };
    const child = spawn("/bin/bash", ["-c", `${given}${rest}`], { cwd, env });
    const [stdout, stderr] = [textOf(child.stdout), textOf(child.stderr)];
    const [code] = (await once(child, "close")) as [number | null];
    const result = { code, stdout: await stdout, stderr: await stderr };
    this.record(`${result.stdout}${result.stderr}`);
    return result;
  }

  /** Runs a command on the machine of node `on`. Does not count as a step. */
  async run(command: string, { on = "a", input = "" } = {}): Promise<CommandResult> {
    const node = this.nodes.get(on);
    const url = node === undefined || node.exited ? {} : { CAIRN_URL: await node.url() };
    const env = { ...this.env(on), ...url };
    this.lastCommand = `${command}${input === "" ? "" : ` < ${JSON.stringify(input)}`} (at node ${on})`;
    const args = command.match(/'[^']*'|\S+/g)?.map((word) => word.replaceAll("'", "")) ?? [];
    // Another node may be uploading. The hint of that refusal is followed as well: the command is run when it has ended.
    const result = await this.#until(async () => {
      const answer = await runCairn(args, { env, cwd: this.folder, input: onlyText(input) });
      return answer.stderr.startsWith("CHECKPOINT_RUNNING") ? { missing: answer.stderr } : { found: answer };
    });
    this.record(`${result.stdout}${result.stderr}`);
    return result;
  }

  /** Runs a command that must fail, and returns its stderr. */
  async runRefused(command: string, options: { on?: string; input?: string } = {}): Promise<string> {
    const { code, stdout, stderr } = await this.run(command, options);
    if (code === 0) throw new Error(`cairn ${command} did not fail:\n${stdout}`);
    return stderr;
  }

  /**
   * Waits for the first hint in a node's `cairn status`: a failure or warning with the lines below it or, if there is
   * none, a line about an automatic action of the node.
   */
  async firstHint(on: string): Promise<string> {
    return await this.#until(async () => {
      const { stdout } = await this.run("status", { on });
      const found = (TO_DO.exec(stdout) ?? DONE_BY_NODE.exec(stdout))?.[0].replaceAll(/\n +/g, "\n");
      return found === undefined ? { missing: `the status shows no hint:\n${stdout}` } : { found };
    });
  }

  /** Waits for the first line with a code in a node's log, and returns its message and hint. */
  async firstLogged(id: string, code: ErrorCode): Promise<string> {
    return await this.#until(() => {
      const found = this.node(id).lines.find((line) => line.includes(`"code":"${code}"`));
      if (found === undefined) return { missing: `no ${code} in its log:\n${this.node(id).output()}` };
      const { message, hint } = JSON.parse(found) as { message: string; hint: string };
      return { found: this.record(`${code}: ${message}\n${hint}`) };
    });
  }

  /** Waits until a node's status satisfies a condition. */
  async waitForStatus(id: string, isExpected: (status: NodeStatus) => boolean): Promise<void> {
    await this.#until(async () => {
      const status = await this.node(id).status();
      return isExpected(status)
        ? { found: true }
        : { missing: `the status remains ${JSON.stringify(status)}` };
    });
  }

  /** Waits until a node reaches its log again. */
  async waitForLog(id: string): Promise<void> {
    await this.waitForStatus(id, ({ failure, log }) => {
      return [failure, ...log.warnings].every((problem) => problem?.code !== "LOG_UNREACHABLE");
    });
  }

  /** Waits until every node is ready, reports no problem except `remains`, and accepts a write that can be read there. */
  async waitUntilHealthy(remains?: ErrorCode): Promise<void> {
    await this.#until(async () => {
      const problems = await Promise.all([...this.nodes.keys()].map((id) => this.#problemOf(id, remains)));
      const problem = problems.find((text) => text !== undefined);
      return problem === undefined ? { found: true } : { missing: `still not healthy: ${problem}` };
    });
  }

  async #problemOf(id: string, remains = "nothing"): Promise<string | undefined> {
    const { code, stdout: all, stderr } = await this.run("status", { on: id });
    const stdout = all.replaceAll(new RegExp(`^Attention +${remains}: `, "gm"), "");
    // Transactions that were lost are looked for in the log only every half minute.
    const problem = /^(?:Failing|Attention) +(?![\d,]+ transactions? lost )/m;
    if (code !== 0 || !/^Phase +ready/m.test(stdout) || problem.test(stdout)) return `${stdout}${stderr}`;
    const status = await this.put(id, `well-${id}`, 1);
    if (status === 405 && (await this.node(id).status()).log.backup !== null) return undefined;
    return status === 200 ? undefined : `a write was answered with ${status}`;
  }

  async #until<T>(check: () => Promise<Check<T>> | Check<T>): Promise<T> {
    for (const deadline = Date.now() + TIMEOUT_MS; ; await delay(POLL_MS)) {
      const result = await check();
      if ("found" in result) return result.found;
      if (Date.now() > deadline) throw new Error(result.missing);
    }
  }

  /** Adds text to the transcript, and returns it. */
  record(text: string): string {
    this.transcript += text;
    return text;
  }

  /** Runs `act` with an operator's access to the stream. */
  async operate<T>(act: (operator: NatsOperator) => Promise<T>): Promise<T> {
    return await NatsOperator.at(this.nats.url, act);
  }

  /** Adds a cleanup that {@link close} runs before it removes the folder. Cleanups run in reverse order. */
  onClose(cleanup: () => Promise<unknown>): void {
    this.#cleanups.unshift(cleanup);
  }

  async close(): Promise<void> {
    this.nats.thaw();
    const kills = [...this.nodes.values()].map((node) => node.kill());
    await Promise.allSettled([...kills, this.nats.close()]);
    for (const cleanup of this.#cleanups) await cleanup();
    await rm(this.folder, { recursive: true, force: true });
  }
}

/** Lines of `cairn status` that request an action, with the indented lines below them. */
const TO_DO = /^(?:Failing|Attention) .*(?:\n {2,}\S.*)*/m;
/** Lines of `cairn status` that report automatic actions of the node. */
const DONE_BY_NODE = /^(?:Skipped|Moved aside) .*/m;

type Check<T> = { readonly found: T } | { readonly missing: string };

async function* onlyText(text: string): AsyncGenerator<string> {
  if (text !== "") yield text;
}
