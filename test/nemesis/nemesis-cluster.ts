import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readdir, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { type NatsTestServer, startNatsServer } from "@cairn/node/testing";
import { NodeProcess } from "../support/cairn-process.ts";
import { mountSmallDisk, type SmallDisk } from "../support/small-disk.ts";

export const NODES = 3;
/** More than an hour's index needs; only what is free is filled. */
const DISK_MEGABYTES = 768;

const run = promisify(execFile);

/** Three node processes over one nats-server and one folder of checkpoints, to which everything can happen. */
export class NemesisCluster {
  readonly folder: string;
  readonly nats: NatsTestServer;
  /** Where each node listens; a dead one's address stays until it is started again. */
  readonly urls: string[] = [];
  /** Ends that no fault asked for, by how. */
  readonly ends = new Map<string, number>();
  readonly #nodes: NodeProcess[] = [];
  /** The last node's folder, where file systems can be mounted. */
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
    // Without the rights to mount, that disk is never full.
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

  /** The folder that a node has for itself. */
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

  /** Starts a node; answers when its address is known, or it has ended again. */
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

  /** Nodes that ended by themselves, or halted, are started again, as an operator does; those of `isBusy` are what a fault is about. */
  async startEnded(isBusy: (number: number) => boolean = () => false): Promise<void> {
    for (const [number, node] of this.#nodes.entries()) {
      if (isBusy(number)) continue;
      if (node.exited) this.#note(`ended: ${endOf(node.output())}`);
      else {
        const { phase, failure } = await node.status();
        // These go on by themselves once the disk has room and the store answers.
        if (phase !== "failed" || failure === null || /^(DISK_FULL|STORE_|SYSTEM_REFUSED)/.test(failure.code))
          continue;
        this.#note(`halted: ${failure.code}`);
        await node.kill();
      }
      await this.start(number);
    }
  }

  /** The checkpoints are gone; what is answered brings them back, and what was saved meanwhile stays. */
  async hideCheckpoints(): Promise<() => Promise<void>> {
    const away = path.join(this.folder, "checkpoints-away");
    await rename(this.checkpoints, away);
    return async () => {
      const meanwhile: string[] = [];
      do {
        const folder = path.join(this.folder, `checkpoints-meanwhile-${meanwhile.length}`);
        meanwhile.push(folder);
        await rename(this.checkpoints, folder).catch(() => undefined);
        // A node may make the folder anew between the two.
      } while (!(await takesPlaceOf(away, this.checkpoints)));
      for (const folder of meanwhile) {
        for (const name of await readdir(folder).catch(() => [])) {
          if (name.startsWith("checkpoint-"))
            await rename(path.join(folder, name), path.join(this.checkpoints, name));
        }
        await rm(folder, { recursive: true, force: true });
      }
    };
  }

  /** Fills the last node's disk; what is answered frees it. */
  async fillDisk(): Promise<() => Promise<void>> {
    const file = path.join(this.dir(NODES - 1), "filling");
    // It takes what there is and then fails.
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

  #note(what: string): void {
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

/** What a process said last: the code of an error, or what native code fails with. */
function endOf(output: string): string {
  const last = output.trim().split("\n").at(-1) ?? "";
  return /Assertion.*failed/.exec(output)?.[0] ?? /"code":"([A-Z_]+)"/.exec(last)?.[1] ?? last;
}

/** Renames a folder; false where the other one is there and not empty. */
async function takesPlaceOf(folder: string, other: string): Promise<boolean> {
  try {
    await rename(folder, other);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOTEMPTY") throw error;
    return false;
  }
}
