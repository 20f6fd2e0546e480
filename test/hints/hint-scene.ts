import { execFile } from "node:child_process";
import { cp, mkdir, mkdtemp, open, readdir, rm, statfs } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { NatsOperator, type NatsTestServer, startNatsServer } from "@cairn/node/testing";
import { mountSmallDisk, type SmallDisk } from "../support/small-disk.ts";
import { type CommandResult, NodeProcess, runCairn } from "../support/cairn-process.ts";

const run = promisify(execFile);
const LOOK_EVERY_MS = 250;
const WITHIN_MS = 90_000;

/** A small cluster on one nats-server and one folder of checkpoints, and an operator's terminal, which has the nodes' environment. */
export class HintScene {
  readonly folder: string;
  readonly nats: NatsTestServer;
  readonly nodes = new Map<string, NodeProcess>();
  /** How many commands the operator has typed since {@link begin}. */
  commands = 0;
  /** What requests must carry; the operator's terminal does, where nothing else is typed. */
  token = "";
  readonly #disks = new Map<string, SmallDisk>();
  #since = 0;

  private constructor(folder: string, nats: NatsTestServer) {
    this.folder = folder;
    this.nats = nats;
  }

  /** `args` are further ones of the nats-server. */
  static async open(args: readonly string[] = []): Promise<HintScene> {
    const folder = await mkdtemp(path.join(tmpdir(), "cairn-hints-"));
    const storeDir = path.join(folder, "nats");
    await mkdir(storeDir);
    return new HintScene(folder, await startNatsServer({ storeDir, args }));
  }

  /** What all that is started here finds in its environment. */
  env(id = "a"): NodeJS.ProcessEnv {
    return {
      NATS_URL: this.nats.url,
      CAIRN_CHECKPOINT_PATH: this.path("checkpoints"),
      CAIRN_NODE_ID: id,
      CAIRN_DIR: this.path(id),
      ...(this.token === "" ? {} : { CAIRN_AUTH_TOKEN: this.token }),
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

  /** A folder of the scene, as another one was. */
  async copy(from: string, to: string): Promise<void> {
    await rm(this.path(to), { recursive: true, force: true });
    await cp(this.path(from), this.path(to), { recursive: true });
  }

  /** Gives a folder of the scene a disk of its own, of so many megabytes. Needs root. */
  async small(name: string, megabytes: number): Promise<void> {
    this.#disks.set(name, await mountSmallDisk(this.path(name), megabytes));
  }

  async remount(name: string, mode: "ro" | "rw"): Promise<void> {
    await run("mount", ["-o", `remount,${mode}`, this.path(name)]);
  }

  /** Somebody else's file takes what is left of a small disk. */
  async fillDisk(name: string): Promise<void> {
    const { bavail, bsize } = await statfs(this.path(name));
    await run("fallocate", ["-l", String(bavail * bsize), this.path(name, "somebody-elses")]);
  }

  async makeRoom(name: string): Promise<void> {
    await rm(this.path(name, "somebody-elses"));
  }

  /** Writes through a node until it has said that it is not well. */
  async writeUntilRefused(id: string): Promise<void> {
    const node = this.node(id);
    const text = "x".repeat(100_000);
    for (let n = 0; (await node.status()).failure === null; n += 1) {
      const body = JSON.stringify({ ops: [["put", "filling", `default/k${n}`, { n, text: text + n }]] });
      await fetch(`${await node.url()}/api/v1/tx`, { method: "POST", body });
    }
  }

  /** Changes bytes in the middle of the newest checkpoint's archive. */
  async damageNewest(): Promise<void> {
    const archives = (await readdir(this.path("checkpoints"))).filter((name) => name.endsWith(".tar"));
    const [newest = ""] = archives.toSorted((a, b) => txIdOf(b) - txIdOf(a));
    const file = await open(this.path("checkpoints", newest), "r+");
    const { size } = await file.stat();
    await file.write("damage", Math.floor(size / 2));
    await file.close();
  }

  /** Removes what a stopped node's index consists of, but for the smallest files. */
  async loseTables(id: string): Promise<void> {
    const live = (await readdir(this.path(id), { recursive: true })).filter((name) =>
      /live\/.*\.(ldb|log)$/.test(name),
    );
    if (live.length === 0) throw new Error("there is no index");
    for (const name of live) await rm(this.path(id, name));
  }

  async close(): Promise<void> {
    await Promise.all([...this.nodes.values()].map((node) => node.kill()));
    for (const disk of this.#disks.values()) await disk.unmount();
    await this.nats.close();
    await rm(this.folder, { recursive: true, force: true });
  }
}

/** Of a name like checkpoint-43-…. */
function txIdOf(name: string): number {
  return Number(name.split("-")[1]);
}

async function* once(text: string): AsyncGenerator<string> {
  if (text !== "") yield text;
}
