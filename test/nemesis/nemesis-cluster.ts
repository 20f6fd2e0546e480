import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readdir, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { type NatsTestServer, startNatsServer } from "@cairn/log-nats/testing";
import { NodeProcess } from "@cairn/test-support/cairn-process";
import { mountSmallDisk, type SmallDisk } from "@cairn/test-support/small-disk";

export const NODES = 3;
/** The size of the disk, which is larger than the index after an hour. Only the free part is filled. */
const DISK_MEGABYTES = 768;

const run = promisify(execFile);

/** Three node processes with one nats-server and one folder of checkpoints, for faults of every kind. */
export class NemesisCluster {
  readonly folder: string;
  readonly nats: NatsTestServer;
  /** The last known address of each node. The address of a killed node is kept until the node is restarted. */
  readonly urls: string[] = [];
  /** The number of times that nodes exited or failed without a fault that caused it directly, by reason. */
  readonly ends = new Map<string, number>();
  readonly #nodes: NodeProcess[] = [];
  /** The last node's folder, if file systems can be mounted here. */
  #disk: SmallDisk | undefined;
  logId = "";

  private constructor(folder: string, nats: NatsTestServer) {
    this.folder = folder;
    this.nats = nats;
  }

  static async open(): Promise<NemesisCluster> {
    const folder = await mkdtemp(path.join(tmpdir(), "cairn-nemesis-"));
    const nats = await startNatsServer({ storeDir: path.join(folder, "nats") });
    const cluster = new NemesisCluster(folder, nats);
    await mkdir(cluster.checkpoints);
    await writeFile(cluster.#config, JSON.stringify(cluster.#settings()));
    const disk = mountSmallDisk(cluster.dir(NODES - 1), DISK_MEGABYTES);
    // Without permission to mount, the fault "disk full" is omitted.
    cluster.#disk = await disk.catch(() => undefined);
    for (let number = 0; number < NODES; number += 1) await cluster.start(number);
    for (let number = 0; number < NODES; number += 1) await cluster.node(number).ready();
    cluster.logId = (await cluster.node(0).status()).log.id ?? "";
    return cluster;
  }

  get checkpoints(): string {
    return path.join(this.folder, "checkpoints");
  }

  get hasDisk(): boolean {
    return this.#disk !== undefined;
  }

  /** Returns a node's own folder. */
  dir(number: number): string {
    return path.join(this.folder, `node-${number}`);
  }

  index(number: number): string {
    return path.join(this.dir(number), `node-${number}-index`);
  }

  node(number: number): NodeProcess {
    const node = this.#nodes[number];
    if (node === undefined) throw new Error(`node ${number} was never started`);
    return node;
  }

  /** Starts a node and waits until its address is known or it has exited. */
  async start(number: number): Promise<void> {
    const node = NodeProcess.start({
      id: `node-${number}`,
      dir: this.dir(number),
      args: ["-f", this.#config],
    });
    this.#nodes[number] = node;
    this.urls[number] = await node.url().catch(() => this.urls[number] ?? "");
  }

  async kill(number: number): Promise<void> {
    await this.node(number).kill();
  }

  /**
   * Does what an operator would do: restarts nodes that have exited or failed by themselves, except those that a fault
   * is using (`isBusy`).
   */
  async startEnded(isBusy: (number: number) => boolean = () => false): Promise<void> {
    for (const [number, node] of this.#nodes.entries()) {
      if (isBusy(number)) continue;
      if (node.exited) this.#countEnd(`ended: ${endOf(node.output())}`);
      else {
        const { phase, failure } = await node.status();
        // Nodes with these failures continue automatically once the disk has space and the store responds.
        if (phase !== "failed" || failure === null || /^(DISK_FULL|STORE_|SYSTEM_REFUSED)/.test(failure.code))
          continue;
        this.#countEnd(`halted: ${failure.code}`);
        await node.kill();
      }
      await this.start(number);
    }
  }

  /** Moves the checkpoint folder away. Returns a function that moves it back and keeps what has been saved since. */
  async hideCheckpoints(): Promise<() => Promise<void>> {
    const away = path.join(this.folder, "checkpoints-away");
    await rename(this.checkpoints, away);
    return async () => {
      const meanwhile: string[] = [];
      do {
        const folder = path.join(this.folder, `checkpoints-meanwhile-${meanwhile.length}`);
        meanwhile.push(folder);
        await rename(this.checkpoints, folder).catch(() => undefined);
        // A node may recreate the folder between the two renames.
      } while (!(await renameUnlessFull(away, this.checkpoints)));
      for (const folder of meanwhile) {
        for (const name of await readdir(folder).catch(() => [])) {
          if (name.startsWith("checkpoint-"))
            await rename(path.join(folder, name), path.join(this.checkpoints, name));
        }
        await rm(folder, { recursive: true, force: true });
      }
    };
  }

  /** Fills the last node's disk. Returns a function that frees it. */
  async fillDisk(): Promise<() => Promise<void>> {
    const file = path.join(this.dir(NODES - 1), "filler");
    // fallocate allocates the free space and then fails.
    await run("fallocate", ["-l", `${DISK_MEGABYTES - 1}M`, file]).catch(() => undefined);
    await run("dd", ["if=/dev/zero", `of=${file}`, "bs=1M", "oflag=append", "conv=notrunc"]).catch(
      () => undefined,
    );
    return async () => await rm(file, { force: true });
  }

  async close(): Promise<void> {
    await Promise.all(this.#nodes.map((node) => node.kill()));
    await this.nats.close();
    await this.#disk?.unmount();
    await rm(this.folder, { recursive: true, force: true });
  }

  #countEnd(what: string): void {
    this.ends.set(what, (this.ends.get(what) ?? 0) + 1);
  }

  get #config(): string {
    return path.join(this.folder, "cairn.json");
  }

  #settings(): object {
    const store = {
      "cairn/module": "cairn.checkpoint/->filesystem-checkpoint-store",
      path: this.checkpoints,
      "shared-store": true,
    };
    const checkpointer = {
      "cairn/module": "cairn.checkpoint/->checkpointer",
      store,
      "approx-frequency": "PT3S",
      "verify-every": "PT4S",
      "retention-policy": { "retain-at-least": 3 },
    };
    return {
      "cairn/tx-log": {
        "cairn/module": "cairn.nats/->tx-log",
        servers: [this.nats.url],
        trim: { keep: "PT10S" },
      },
      "cairn/index-store": { "kv-store": { "cairn/module": "cairn.leveldb/->kv-store", checkpointer } },
    };
  }
}

/**
 * Returns the reason why a process exited: a failed assertion of native code, the code of its last error, or its last
 * line.
 */
function endOf(output: string): string {
  const last = output.trim().split("\n").at(-1) ?? "";
  return /Assertion.*failed/.exec(output)?.[0] ?? /"code":"([A-Z_]+)"/.exec(last)?.[1] ?? last;
}

/** Renames a folder. Returns false if the target exists and is not empty. */
async function renameUnlessFull(folder: string, other: string): Promise<boolean> {
  try {
    await rename(folder, other);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOTEMPTY") throw error;
    return false;
  }
}
