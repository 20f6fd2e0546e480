import { cp, mkdir, mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { NatsOperator, type NatsTestServer, startNatsServer } from "@cairn/node/testing";
import { type CommandResult, NodeProcess, runCairn } from "../support/cairn-process.ts";

const LOOK_EVERY_MS = 250;
const WITHIN_MS = 90_000;

/** A small cluster on one nats-server and one folder of checkpoints, and an operator's terminal, which has the nodes' environment. */
export class HintScene {
  readonly folder: string;
  readonly nats: NatsTestServer;
  readonly nodes = new Map<string, NodeProcess>();
  /** How many commands the operator has typed since {@link begin}. */
  commands = 0;
  #since = 0;

  private constructor(folder: string, nats: NatsTestServer) {
    this.folder = folder;
    this.nats = nats;
  }

  static async open(): Promise<HintScene> {
    const folder = await mkdtemp(path.join(tmpdir(), "cairn-hints-"));
    await mkdir(path.join(folder, "nats"));
    return new HintScene(folder, await startNatsServer({ storeDir: path.join(folder, "nats") }));
  }

  /** What all that is started here finds in its environment. */
  env(id = "a"): NodeJS.ProcessEnv {
    return {
      NATS_URL: this.nats.url,
      CAIRN_CHECKPOINT_PATH: this.path("checkpoints"),
      CAIRN_NODE_ID: id,
      CAIRN_DIR: this.path(id),
    };
  }

  path(...names: readonly string[]): string {
    return path.join(this.folder, ...names);
  }

  /** Starts a node, with further settings as `-j` has them; answers at once. */
  start(id: string, settings?: object): NodeProcess {
    const args = settings === undefined ? [] : ["-j", JSON.stringify(settings)];
    const node = NodeProcess.start({ id, dir: this.path(id), args, env: this.env(id) });
    this.nodes.set(id, node);
    return node;
  }

  async ready(id: string, settings?: object): Promise<NodeProcess> {
    const node = this.start(id, settings);
    await node.ready();
    return node;
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
    const url = await this.node(id).url();
    for (let n = from; n <= to; n += 1) {
      const put = `{"ops":[["put","things","default/k${n}",{"n":${n}}]]}`;
      const { status } = await fetch(`${url}/api/v1/tx?await=true`, { method: "POST", body: put });
      if (status !== 200) throw new Error(`k${n} was answered with ${status}`);
    }
  }

  /** The operator begins to look. */
  begin(): void {
    this.commands = 0;
    this.#since = Date.now();
  }

  /** How long that is ago, in seconds. */
  get seconds(): number {
    return (Date.now() - this.#since) / 1_000;
  }

  /** What the operator types, without `cairn`, at the machine of a node. */
  async type(command: string, { on = "a", input = "" } = {}): Promise<CommandResult> {
    this.commands += 1;
    return await this.ask(command, { on, input });
  }

  /** The same, for who only looks. */
  async ask(command: string, { on = "a", input = "" } = {}): Promise<CommandResult> {
    const node = this.nodes.get(on);
    const url = node === undefined ? {} : { CAIRN_URL: await node.url() };
    const env = { ...this.env(on), ...url };
    return await runCairn(command.split(" "), { env, cwd: this.folder, input: once(input) });
  }

  /** The first hint that `cairn status` shows for a node: what stands below a failure or a warning, or the line that names a command. */
  async firstHint(on: string): Promise<string> {
    for (const until = Date.now() + WITHIN_MS; Date.now() < until; await delay(LOOK_EVERY_MS)) {
      const { stdout } = await this.ask("status", { on });
      const shown = /^(?:Failure|Warning|Stalled|Orphans) .*(?:\n {2,}\S.*)*/m.exec(stdout)?.[0];
      if (shown !== undefined) return shown.replaceAll(/\n +/g, "\n");
    }
    throw new Error(`nothing is said of it:\n${(await this.ask("status", { on })).stdout}`);
  }

  /** Waits until the first hint is another one, and does what that says. */
  async until(on: string, hint: RegExp, follow: (command: string) => Promise<void>): Promise<void> {
    for (const until = Date.now() + WITHIN_MS; ; await delay(LOOK_EVERY_MS)) {
      const text = await this.firstHint(on);
      const match = hint.exec(text);
      if (match !== null) return await follow(match[0]);
      if (Date.now() > until) throw new Error(`The hint is another one:\n${text}`);
    }
  }

  /** Waits until all nodes are ready, say nothing of anything to do, and one of them takes a write that all can read. */
  async well(): Promise<void> {
    for (const until = Date.now() + WITHIN_MS; ; await delay(LOOK_EVERY_MS)) {
      const unwell = await this.#unwell();
      if (unwell === undefined) return;
      if (Date.now() > until) throw new Error(`still not well: ${unwell}`);
    }
  }

  async #unwell(): Promise<string | undefined> {
    for (const id of this.nodes.keys()) {
      const { code, stdout } = await this.ask("status", { on: id });
      if (code !== 0 || !/^Phase +ready/m.test(stdout) || /^(Failure|Warning|Stalled) /m.test(stdout))
        return stdout;
    }
    for (const id of this.nodes.keys()) {
      const put = await this.ask(`tx put things well/${id} 1`, { on: id });
      if (put.code !== 0) return put.stderr;
    }
    return undefined;
  }

  /** Does something to the stream as somebody who is not Cairn. */
  async atStream<T>(act: (operator: NatsOperator) => Promise<T>): Promise<T> {
    return await NatsOperator.at(this.nats.url, act);
  }

  /** What lies in a folder of the scene is put away, or back. */
  async move(from: string, to: string): Promise<void> {
    await rename(this.path(from), this.path(to));
  }

  async copy(from: string, to: string): Promise<void> {
    await rm(this.path(to), { recursive: true, force: true });
    await cp(this.path(from), this.path(to), { recursive: true });
  }

  async write(name: string, content: string): Promise<void> {
    await writeFile(this.path(name), content);
  }

  async close(): Promise<void> {
    await Promise.all([...this.nodes.values()].map((node) => node.kill()));
    await this.nats.close();
    await rm(this.folder, { recursive: true, force: true });
  }
}

async function* once(text: string): AsyncGenerator<string> {
  if (text !== "") yield text;
}
