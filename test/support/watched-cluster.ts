import { rm } from "node:fs/promises";
import path from "node:path";
import { NodeProcess } from "./cairn-process.ts";
import { FaultScene } from "./fault-scene.ts";
import { type WatchedHistory, watchedHistory } from "./watch-oracle.ts";

/** Three node processes on one log. A test kills them, removes their indexes, and rolls back their log. */
export class WatchedCluster {
  readonly scene: FaultScene;
  readonly #nodes: NodeProcess[] = [];
  /** The last known address of each node; the address of a killed node is kept until the node is restarted. */
  readonly urls: string[] = [];
  /** The histories that the log had before it lost its end. */
  readonly lost: WatchedHistory[] = [];

  private constructor(scene: FaultScene) {
    this.scene = scene;
  }

  static async open(): Promise<WatchedCluster> {
    const cluster = new WatchedCluster(await FaultScene.open());
    for (const number of [0, 1, 2]) await cluster.start(number);
    await cluster.ready();
    return cluster;
  }

  async start(number: number): Promise<void> {
    const node = NodeProcess.start({
      id: `node-${number}`,
      dir: path.join(this.scene.folder, `node-${number}`),
      env: {
        NATS_URL: this.scene.nats.url,
        CAIRN_CHECKPOINT_PATH: path.join(this.scene.folder, "checkpoints"),
      },
    });
    this.#nodes[number] = node;
    this.urls[number] = await node.url();
  }

  async kill(number: number): Promise<void> {
    await this.#nodes[number]?.kill();
  }

  /** Removes the index of a node that was killed. */
  async loseIndex(number: number): Promise<void> {
    await rm(path.join(this.scene.folder, `node-${number}`, `node-${number}-index`), {
      recursive: true,
      force: true,
    });
  }

  async ready(): Promise<void> {
    await Promise.all(this.#nodes.map((node) => node.ready()));
  }

  /** Requests a checkpoint from the first node. */
  async checkpoint(): Promise<void> {
    await fetch(`${this.urls[0] ?? ""}/api/v1/checkpoints?await=true`, { method: "POST" });
  }

  /** Submits transactions through a node. Only some are stored if the node is killed in the meantime. */
  async write(number: number, lines: readonly object[]): Promise<void> {
    const body = lines.map((line) => JSON.stringify(line)).join("\n");
    const headers = { "content-type": "application/x-ndjson" };
    await fetch(`${this.urls[number] ?? ""}/api/v1/tx/batch`, { method: "POST", headers, body }).then(
      (answer) => answer.text(),
      () => undefined,
    );
  }

  /** Returns what watchers of the current log must receive. */
  async history(): Promise<WatchedHistory> {
    return await this.scene.operate(async (operator) => await watchedHistory(operator.messages()));
  }

  /** Replaces the log with the copy that the scene made, while the nodes run. */
  async loseEnd(): Promise<void> {
    this.lost.push(await this.history());
    await this.scene.stopAndRestoreStore();
    await this.scene.nats.start();
  }

  async close(): Promise<void> {
    await Promise.all(this.#nodes.map((node) => node.kill()));
    await this.scene.close();
  }
}
