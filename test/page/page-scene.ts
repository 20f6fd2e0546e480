import { readdirSync } from "node:fs";
import { readFile, rename, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { NodeProcess, runCairnOrThrow, saveCheckpoint } from "@cairn/test-support/cairn-process";
import { CheckpointCluster } from "@cairn/test-support/checkpoint-cluster";

/** The time between two looks at the store, long enough that no checkpoint is saved by itself during a test. */
const FREQUENCY = "PT1H";
/** How long a slowed node runs, and then rests. */
const RUN_MS = 10;
const REST_MS = 150;

/** The parts of a node's configuration that the scene changes. */
interface Config {
  readonly "cairn/tx-log": { stream: string };
  readonly "cairn/index-store": {
    readonly "kv-store": { readonly checkpointer: { readonly store: { "shared-store"?: boolean } } };
  };
}

/** Three nodes on NATS with a folder of checkpoints, and the states in which an operator finds them. */
export class PageScene implements AsyncDisposable {
  readonly cluster: CheckpointCluster;
  readonly #others: NodeProcess[] = [];

  private constructor(cluster: CheckpointCluster) {
    this.cluster = cluster;
  }

  /** Starts the nodes a, b and c, with some documents and a checkpoint. */
  static async start({ megabytes = 40 } = {}): Promise<PageScene> {
    const scene = new PageScene(await CheckpointCluster.open());
    const a = await scene.cluster.start("a", FREQUENCY);
    await scene.cluster.load(a, megabytes);
    await scene.write(60);
    await scene.checkpoint();
    await scene.cluster.start("b", FREQUENCY);
    await scene.cluster.start("c", FREQUENCY);
    return scene;
  }

  /** The node whose page is shown. */
  get node(): NodeProcess {
    const [first] = this.cluster.nodes;
    if (first === undefined) throw new Error("The scene has no node.");
    return first;
  }

  async write(documents: number): Promise<void> {
    const url = await this.node.url();
    for (let n = 0; n < documents; n += 1) {
      const document = { image: `nginx:1.${n}`, replicas: n % 5, labels: { app: "web", tier: "front" } };
      await fetch(`${url}/api/v1/deployments/default/web-${n % 20}`, {
        method: "PUT",
        body: JSON.stringify(document),
      });
    }
  }

  /** Saves a checkpoint of something new, and returns its name. */
  async checkpoint(): Promise<string> {
    await this.write(1);
    return await saveCheckpoint(await this.node.url());
  }

  async verifyNewest(): Promise<void> {
    await fetch(`${await this.node.url()}/api/v1/checkpoints/newest/verify`, { method: "POST" });
  }

  /**
   * Starts a node that restores as slowly as on a small machine, until `seen` resolves. Then waits until it has joined.
   */
  async joinSlowly(id: string, seen: () => Promise<unknown>): Promise<NodeProcess> {
    const start = (): NodeProcess =>
      NodeProcess.start({ id, dir: this.cluster.folder, args: ["-f", this.#config("a")] });
    let node = start();
    const stop = new AbortController();
    const slow = async ({ signal }: AbortController): Promise<void> => {
      while (!signal.aborted) {
        const { phase, progress } = await node.status();
        if (phase === "ready") {
          // It was too fast to be seen, so it joins once more.
          await node.kill();
          await rm(path.join(this.cluster.folder, `${id}-index`), { recursive: true, force: true });
          node = start();
          await node.url();
        } else if (progress !== null) {
          node.signal("SIGSTOP");
          await delay(REST_MS);
          node.signal("SIGCONT");
          await delay(RUN_MS);
        }
      }
    };
    await node.url();
    const slowing = slow(stop);
    try {
      await seen();
    } finally {
      stop.abort();
      await slowing;
      this.#others.push(node);
    }
    await node.ready();
    return node;
  }

  /** Makes the store disappear, as a volume that is no longer mounted. Returns a function that brings it back. */
  async loseStore(): Promise<() => Promise<void>> {
    const { folder } = this.cluster.store;
    await rename(folder, `${folder}.away`);
    return async () => await rename(`${folder}.away`, folder);
  }

  /** Damages the newest checkpoint, and has it read back. Returns its name. */
  async damageNewest(): Promise<string> {
    const name = await this.checkpoint();
    const { folder } = this.cluster.store;
    const archive = readdirSync(folder).find((file) => file.startsWith(name) && !file.endsWith(".json"));
    if (archive === undefined) throw new Error(`${name} has no archive.`);
    const bytes = await readFile(path.join(folder, archive));
    bytes.fill(0x2a, Math.floor(bytes.length / 2), Math.floor(bytes.length / 2) + 64);
    await writeFile(path.join(folder, archive), bytes);
    await this.verifyNewest();
    return name;
  }

  /** Stops node c, and starts it with a stream that does not contain its log. Returns the node, which halts. */
  async haltThird(): Promise<NodeProcess> {
    const third = this.cluster.nodes[2];
    if (third === undefined) throw new Error("The scene has no third node.");
    await third.stop();
    this.cluster.forget(third);
    const config = await this.#parsed("c");
    config["cairn/tx-log"].stream = "elsewhere";
    const file = path.join(this.cluster.folder, "c-elsewhere.json");
    await writeFile(file, JSON.stringify(config));
    const halted = NodeProcess.start({ id: "c", dir: this.cluster.folder, args: ["-f", file] });
    this.#others.push(halted);
    return halted;
  }

  /** Removes the beginning of the log, which a verified checkpoint contains. */
  async trim(): Promise<void> {
    await this.verifyNewest();
    const config = await this.#parsed("a");
    config["cairn/index-store"]["kv-store"].checkpointer.store["shared-store"] = true;
    const file = path.join(this.cluster.folder, "trim.json");
    await writeFile(file, JSON.stringify(config));
    await runCairnOrThrow(["log", "trim", "--keep", "PT0S", "-f", file], { env: this.#environment });
  }

  /** Returns what `cairn status --cluster --json` prints. */
  async printed(): Promise<unknown> {
    const command = ["status", "--cluster", "--json", "-f", this.#config("a")];
    return JSON.parse((await runCairnOrThrow(command, { env: this.#environment })).stdout) as unknown;
  }

  get #environment(): NodeJS.ProcessEnv {
    return { CAIRN_DIR: this.cluster.folder };
  }

  async #parsed(id: string): Promise<Config> {
    return JSON.parse(await readFile(this.#config(id), "utf8")) as Config;
  }

  #config(id: string): string {
    return path.join(this.cluster.folder, `${id}.json`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#others.map((node) => node.kill()));
    await this.cluster.close();
  }
}
