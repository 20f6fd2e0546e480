import { randomBytes } from "node:crypto";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { ErrorCode } from "@cairn/kv";
import type { NodeStatus } from "@cairn/node";
import { NatsOperator, type NatsTestServer, startNatsServer } from "@cairn/node/testing";
import { type CommandResult, NodeProcess, runCairn } from "../../support/cairn-process.ts";

const LOOK_EVERY_MS = 100;
const WITHIN_MS = 90_000;

/** How a node of a scene is started; settings as `-j` has them. */
export interface NodeStart {
  readonly settings?: object;
  readonly env?: NodeJS.ProcessEnv;
  readonly openFiles?: number;
}

/** A small cluster on one nats-server and one folder of checkpoints, and an operator's terminal, which has the nodes' environment. */
export class HintScene {
  readonly folder: string;
  readonly nats: NatsTestServer;
  readonly nodes = new Map<string, NodeProcess>();
  /** How each node was started. */
  readonly starts = new Map<string, NodeStart>();
  /** What the operator has done since {@link begin}. */
  done: string[] = [];
  /** All that the operator has read. */
  read = "";
  /** The command that was typed last, with what it was given. */
  typed = "";
  /** What requests must carry; the operator's terminal does, where nothing else is typed. */
  token = "";
  /** Goes over the environment of all that is started here. */
  readonly shared: NodeJS.ProcessEnv = {};
  readonly #endings: (() => Promise<unknown>)[] = [];
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

  /** What all that is started here finds in its environment. */
  env(id = "a"): NodeJS.ProcessEnv {
    return {
      NATS_URL: this.nats.url,
      CAIRN_CHECKPOINT_PATH: this.path("checkpoints"),
      CAIRN_NODE_ID: id,
      CAIRN_DIR: this.path(id),
      ...(this.token === "" ? {} : { CAIRN_AUTH_TOKEN: this.token }),
      ...this.shared,
      ...this.starts.get(id)?.env,
    };
  }

  path(...names: readonly string[]): string {
    return path.join(this.folder, ...names);
  }

  /** Starts a node; answers at once. */
  start(id: string, how: NodeStart = {}): NodeProcess {
    const { settings, openFiles } = how;
    this.starts.set(id, how);
    const args = settings === undefined ? [] : ["-j", JSON.stringify(settings)];
    const limit = openFiles === undefined ? {} : { openFiles };
    const node = NodeProcess.start({ id, dir: this.path(id), args, env: this.env(id), ...limit });
    this.nodes.set(id, node);
    return node;
  }

  async ready(id: string, how: NodeStart = {}): Promise<NodeProcess> {
    const node = this.start(id, how);
    await node.ready();
    return node;
  }

  /** Starts one that ends before it serves anything; answers what it said, and forgets it. */
  async refused(id: string, how: NodeStart = {}): Promise<string> {
    const node = this.start(id, how);
    await node.ended();
    this.nodes.delete(id);
    this.typed = `start (as node ${id})`;
    return this.reads(node.output());
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

  /** Puts documents through a node, so that the log has something to lose. */
  async fill(id: string, from: number, to: number): Promise<void> {
    for (let n = from; n <= to; n += 1) {
      const status = await this.put(id, `k${n}`, { n });
      if (status !== 200) throw new Error(`k${n} was answered with ${status}`);
    }
  }

  /** Puts so many of so many bytes, which do not compress. */
  async fillWith(id: string, documents: number, bytes: number): Promise<void> {
    for (let n = 0; n < documents; n += 1) {
      await this.put(id, `large${n}`, randomBytes((bytes * 3) / 4).toString("base64"));
    }
  }

  /** Puts one, and waits until it can be read. */
  async put(id: string, name: string, document: unknown): Promise<number> {
    const body = JSON.stringify({ ops: [["put", "things", `default/${name}`, document]] });
    const headers = this.token === "" ? {} : { authorization: `Bearer ${this.token}` };
    const url = `${await this.node(id).url()}/api/v1/tx?await=true`;
    const response = await fetch(url, { method: "POST", body, headers });
    await response.arrayBuffer();
    return response.status;
  }

  /** The operator begins to look. */
  begin(): void {
    this.done = [];
    this.#since = Date.now();
  }

  /** How long that is ago, in seconds. */
  get seconds(): number {
    return (Date.now() - this.#since) / 1_000;
  }

  /** What the operator does in another way than by a command of Cairn. */
  async act<T>(what: string, act: () => Promise<T>): Promise<T> {
    this.done.push(what);
    return await act();
  }

  /** Stops a node where it runs, and starts it with other settings, as an operator who changed its configuration. */
  async restart(id: string, how: NodeStart = {}): Promise<void> {
    const words = { ...how.settings, ...how.env };
    const changed = Object.keys(words).length === 0 ? "" : ` with ${JSON.stringify(words)}`;
    await this.act(`restart node ${id}${changed}`, async () => {
      if (this.nodes.has(id)) await this.stop(id);
      this.start(id, how);
    });
  }

  /** What the operator types, without `cairn`, at the machine of a node. */
  async type(command: string, options: { on?: string; input?: string } = {}): Promise<CommandResult> {
    this.done.push(`cairn ${command}`);
    return await this.ask(command, options);
  }

  /** The same, where it has to succeed. */
  async does(command: string, options: { on?: string; input?: string } = {}): Promise<CommandResult> {
    const result = await this.type(command, options);
    if (result.code !== 0) throw new Error(`cairn ${command}: ${result.stderr}`);
    return result;
  }

  /** What is typed to look, or before all this. */
  async ask(command: string, { on = "a", input = "" } = {}): Promise<CommandResult> {
    const node = this.nodes.get(on);
    const url = node === undefined || node.exited ? {} : { CAIRN_URL: await node.url() };
    const env = { ...this.env(on), ...url };
    this.typed = `${command}${input === "" ? "" : ` < ${JSON.stringify(input)}`} (at node ${on})`;
    const args = command.match(/'[^']*'|\S+/g)?.map((word) => word.replaceAll("'", "")) ?? [];
    const result = await runCairn(args, { env, cwd: this.folder, input: once(input) });
    this.reads(`${result.stdout}${result.stderr}`);
    return result;
  }

  /** What a command says that does not do what it was asked for. */
  async refusal(command: string, options: { on?: string; input?: string } = {}): Promise<string> {
    const { code, stdout, stderr } = await this.ask(command, options);
    if (code === 0) throw new Error(`cairn ${command} is not refused:\n${stdout}`);
    return stderr;
  }

  /** The first hint that `cairn status` shows for a node: what stands below a failure or a warning, or the line that names a command. */
  async firstHint(on: string): Promise<string> {
    return await this.#until(async () => {
      const { stdout } = await this.ask("status", { on });
      const found = (TO_DO.exec(stdout) ?? DONE.exec(stdout))?.[0].replaceAll(/\n +/g, "\n");
      return found === undefined ? { not: `nothing is said of it:\n${stdout}` } : { found };
    });
  }

  /** The first line of a node's log with a code, as an operator reads it. */
  async logged(id: string, code: ErrorCode): Promise<string> {
    return await this.#until(() => {
      const found = this.node(id).lines.find((line) => line.includes(`"code":"${code}"`));
      if (found === undefined) return { not: `no ${code} in its log:\n${this.node(id).output()}` };
      const { message, hint } = JSON.parse(found) as { message: string; hint: string };
      return { found: this.reads(`${code}: ${message}\n${hint}`) };
    });
  }

  /** Waits until a node's status is as it should be. */
  async until(id: string, is: (status: NodeStatus) => boolean): Promise<void> {
    await this.#until(async () => {
      const status = await this.node(id).status();
      return is(status) ? { found: true } : { not: `it stays as it is: ${JSON.stringify(status)}` };
    });
  }

  /** Waits until a node has its log again. */
  async reached(id: string): Promise<void> {
    await this.until(id, ({ failure, log }) => {
      return [failure, ...log.warnings].every((told) => told?.code !== "LOG_UNREACHABLE");
    });
  }

  /** Waits until all nodes are ready, say nothing of anything to do, and each takes a write that can be read there. */
  async well(remains?: ErrorCode): Promise<void> {
    await this.#until(async () => {
      const unwell = await Promise.all([...this.nodes.keys()].map((id) => this.#unwell(id, remains)));
      const [not] = unwell.filter((said) => said !== undefined);
      return not === undefined ? { found: true } : { not: `still not well: ${not}` };
    });
  }

  async #unwell(id: string, remains = "nothing"): Promise<string | undefined> {
    const { code, stdout: all, stderr } = await this.ask("status", { on: id });
    const stdout = all.replaceAll(new RegExp(`^Warning +${remains}: `, "gm"), "");
    // What the log lost stays in quarantine, and is counted as long as it lies there.
    const told = /^(Failure|Warning|Stalled|Drill failed|Last failure) /m;
    if (code !== 0 || !/^Phase +ready/m.test(stdout) || told.test(stdout)) return `${stdout}${stderr}`;
    const status = await this.put(id, `well-${id}`, 1);
    return status === 200 ? undefined : `a write was answered with ${status}`;
  }

  async #until<T>(look: () => Promise<Look<T>> | Look<T>): Promise<T> {
    for (const until = Date.now() + WITHIN_MS; ; await delay(LOOK_EVERY_MS)) {
      const looked = await look();
      if ("found" in looked) return looked.found;
      if (Date.now() > until) throw new Error(looked.not);
    }
  }

  /** What the operator reads. */
  reads(text: string): string {
    this.read += text;
    return text;
  }

  /** Does something to the stream as somebody who is not Cairn. */
  async atStream<T>(act: (operator: NatsOperator) => Promise<T>): Promise<T> {
    return await NatsOperator.at(this.nats.url, act);
  }

  /** What {@link close} does too, before it removes the folder; the last one first. */
  onClose(end: () => Promise<unknown>): void {
    this.#endings.unshift(end);
  }

  async close(): Promise<void> {
    this.nats.thaw();
    const endings = [...this.nodes.values()].map((node) => node.kill());
    await Promise.allSettled([...endings, this.nats.close()]);
    for (const end of this.#endings) await end();
    await rm(this.folder, { recursive: true, force: true });
  }
}

/** Lines of `cairn status` that ask for somebody, with what stands below them. */
const TO_DO = /^(?:Failure|Warning|Stalled|Orphans|Drill failed|Last failure) .*(?:\n {2,}\S.*)*/m;
/** Lines that tell what the node has done by itself. */
const DONE = /^(?:Skipped|Moved aside) .*/m;

type Look<T> = { readonly found: T } | { readonly not: string };

async function* once(text: string): AsyncGenerator<string> {
  if (text !== "") yield text;
}
