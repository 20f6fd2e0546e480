import { randomBytes } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { type NatsTestServer, startNatsServer } from "@cairn/log-nats/testing";
import { runCairnOrThrow, NodeProcess } from "./cairn-process.ts";
import { WatchedStore } from "./watched-store.ts";

const DOCUMENT_BYTES = 3_000;
const WRITE_EVERY_MS = 50;

/** Node processes that share a nats-server and a folder of checkpoints, with a writer. */
export class CheckpointCluster {
  readonly folder: string;
  readonly nats: NatsTestServer;
  readonly store: WatchedStore;
  readonly nodes: NodeProcess[] = [];
  readonly #frozen = new Set<NodeProcess>();
  #stopWriting = new AbortController();
  #writing: Promise<void> = Promise.resolve();
  #written = 0;

  private constructor(folder: string, nats: NatsTestServer) {
    this.folder = folder;
    this.nats = nats;
    this.store = new WatchedStore(path.join(folder, "checkpoints"));
  }

  static async open(): Promise<CheckpointCluster> {
    const folder = await mkdtemp(path.join(tmpdir(), "cairn-cluster-"));
    return new CheckpointCluster(folder, await startNatsServer({ storeDir: path.join(folder, "nats") }));
  }

  /** Starts a node whose checkpointer has this `approx-frequency`, and waits until it is ready. */
  async start(id: string, frequency: string): Promise<NodeProcess> {
    const file = path.join(this.folder, `${id}.json`);
    const store = {
      "cairn/module": "cairn.checkpoint/->filesystem-checkpoint-store",
      path: this.store.folder,
    };
    const checkpointer = {
      "cairn/module": "cairn.checkpoint/->checkpointer",
      store,
      "approx-frequency": frequency,
      "retention-policy": { "retain-at-least": 2 },
    };
    const kvStore = { "cairn/module": "cairn.leveldb/->kv-store", checkpointer };
    const txLog = { "cairn/module": "cairn.nats/->tx-log", servers: [this.nats.url], stream: "cluster" };
    await writeFile(
      file,
      JSON.stringify({ "cairn/tx-log": txLog, "cairn/index-store": { "kv-store": kvStore } }),
    );
    const node = NodeProcess.start({ id, dir: this.folder, args: ["-f", file] });
    this.nodes.push(node);
    await node.ready();
    return node;
  }

  /** Loads `megabytes` of incompressible documents. */
  async load(node: NodeProcess, megabytes: number): Promise<void> {
    const input = linesOf(Math.ceil((megabytes * 1e6) / DOCUMENT_BYTES));
    await runCairnOrThrow(["load", "-", "--await", "--url", await node.url()], { input });
  }

  /** Starts writing through the given nodes (default: all) in turn, until {@link settle}. */
  write(through?: readonly NodeProcess[]): void {
    this.#stopWriting = new AbortController();
    this.#writing = this.#write(through, this.#stopWriting.signal);
    // `settle` reports the error.
    this.#writing.catch(() => {});
  }

  /** Pauses a node with SIGSTOP. Nothing is written through it until {@link thaw}. */
  freeze(node: NodeProcess): void {
    this.#frozen.add(node);
    node.signal("SIGSTOP");
  }

  thaw(node: NodeProcess): void {
    node.signal("SIGCONT");
    this.#frozen.delete(node);
  }

  /** Removes a node that has exited from the cluster. */
  forget(node: NodeProcess): void {
    this.nodes.splice(this.nodes.indexOf(node), 1);
  }

  /** Stops writing, waits until all nodes have applied the whole log, and returns their digests. */
  async settle(timeoutMs = 60_000): Promise<string[]> {
    this.#stopWriting.abort();
    await this.#writing;
    const deadline = Date.now() + timeoutMs;
    for (;;) {
      const last = (await Promise.all(this.nodes.map((node) => node.status()))).map(
        ({ index }) => index.txId,
      );
      if (new Set(last).size === 1 || Date.now() > deadline) break;
      await delay(50);
    }
    return (await Promise.all(this.nodes.map((node) => node.digest()))).map(
      ({ txId, digest }) => `${txId} ${digest}`,
    );
  }

  async close(): Promise<void> {
    this.#stopWriting.abort();
    await this.#writing.catch(() => {});
    await Promise.all(this.nodes.map((node) => node.kill()));
    await this.store.close();
    await this.nats.close();
    await rm(this.folder, { recursive: true, force: true });
  }

  async #write(through: readonly NodeProcess[] | undefined, stop: AbortSignal): Promise<void> {
    while (!stop.aborted) {
      const able = (through ?? this.nodes).filter((node) => !this.#frozen.has(node));
      const node = able[this.#written % able.length];
      if (node === undefined) throw new Error("There is no node to write through.");
      this.#written += 1;
      const url = `${await node.url()}/api/v1/writes/default/k${this.#written % 500}`;
      const headers = { "content-type": "application/json" };
      const body = JSON.stringify({ n: this.#written });
      // The node may be frozen during the request.
      await fetch(url, { method: "PUT", headers, body, signal: AbortSignal.timeout(2_000) }).catch(() => {});
      await delay(WRITE_EVERY_MS);
    }
  }
}

async function* linesOf(documents: number): AsyncGenerator<string> {
  for (let n = 0; n < documents; n += 1) {
    const text = randomBytes((DOCUMENT_BYTES * 3) / 4).toString("base64");
    yield `${JSON.stringify({ ops: [["put", "bulk", `default/d${n}`, text]] })}\n`;
  }
}
