import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { type CairnNode, startNode } from "@cairn/node";
import { LogFold, NatsOperator, type NatsTestServer, startNatsServer } from "@cairn/node/testing";
import { expect, vi } from "vitest";

/** What a node of a {@link FaultScene} is started with beside its id. */
export interface SceneNodeOptions {
  readonly servers?: readonly string[];
  readonly onLogMismatch?: Readonly<Record<string, string>>;
  readonly replicas?: number;
  /** Name of the folder of checkpoints. */
  readonly checkpoints?: string;
}

/** A real nats-server, a folder of checkpoints, and nodes over them; its oracle folds what the stream holds. */
export class FaultScene {
  readonly folder: string;
  readonly nats: NatsTestServer;
  readonly #nodes = new Set<CairnNode>();

  private constructor(folder: string, nats: NatsTestServer) {
    this.folder = folder;
    this.nats = nats;
  }

  static async open(): Promise<FaultScene> {
    const folder = await mkdtemp(path.join(tmpdir(), "cairn-faults-"));
    return new FaultScene(folder, await startNatsServer({ storeDir: path.join(folder, "nats") }));
  }

  /** A node in this process; it may not be ready yet. */
  async start(id: string, options: SceneNodeOptions = {}): Promise<CairnNode> {
    const node = await startNode({
      "cairn/node": { id, dir: path.join(this.folder, id) },
      "cairn/http-server": null,
      "cairn/tx-log": {
        "cairn/module": "cairn.nats/->tx-log",
        servers: options.servers ?? [this.nats.url],
        replicas: options.replicas ?? 1,
        "on-log-mismatch": options.onLogMismatch ?? {},
      },
      "cairn/index-store": {
        "kv-store": {
          "cairn/module": "cairn.leveldb/->kv-store",
          checkpointer: {
            "cairn/module": "cairn.checkpoint/->checkpointer",
            store: {
              "cairn/module": "cairn.checkpoint/->filesystem-checkpoint-store",
              path: path.join(this.folder, options.checkpoints ?? "checkpoints"),
            },
            "approx-frequency": "PT6H",
          },
        },
      },
    });
    this.#nodes.add(node);
    return node;
  }

  /** A node in this process, once it is ready. */
  async ready(id: string, options: SceneNodeOptions = {}): Promise<CairnNode> {
    const node = await this.start(id, options);
    await node.ready;
    return node;
  }

  /** Does something to the stream from outside. */
  async operate<T>(act: (operator: NatsOperator) => Promise<T>): Promise<T> {
    return await NatsOperator.at(this.nats.url, act);
  }

  /** The log as it is now, folded without any part of a node. */
  async fold(upTo?: number): Promise<LogFold> {
    return await this.operate(async (operator) => await LogFold.of(operator.messages(), upTo));
  }

  /** The store of the server as it lies on the disk between two lives of it. */
  async copyStore(): Promise<void> {
    await this.nats.stop();
    await cp(this.nats.storeDir, path.join(this.folder, "nats-copy"), { recursive: true });
    await this.nats.start();
  }

  /** The server stops; its store is put back to the copy. */
  async rollBackStopped(): Promise<void> {
    await this.nats.stop();
    await rm(this.nats.storeDir, { recursive: true });
    await cp(path.join(this.folder, "nats-copy"), this.nats.storeDir, { recursive: true });
  }

  async close(): Promise<void> {
    await Promise.all([...this.#nodes].map((node) => node.close()));
    await this.nats.close();
    await rm(this.folder, { recursive: true, force: true });
  }
}

/** Saves a checkpoint. A node's own first look at the store comes at a random instant within 30 seconds, and may be under way. */
export async function saveCheckpoint(node: CairnNode): Promise<void> {
  await vi.waitFor(async () => await node.checkpoint().done, { timeout: 30_000 });
}

/** Puts `things/default/k<n>` for each n, one transaction each, and waits for the last. */
export async function put(node: CairnNode, from: number, to: number, value: string): Promise<number> {
  const submitted: Promise<{ txId: number }>[] = [];
  for (let n = from; n < to; n += 1) {
    submitted.push(node.submit({ ops: [["put", "things", `default/k${n}`, value]] }));
  }
  const last = (await Promise.all(submitted)).at(-1);
  if (last === undefined) throw new Error("nothing to put");
  await node.await(last.txId);
  return last.txId;
}

/** The values that a node has under `things`, by name. */
export async function values(node: CairnNode): Promise<Record<string, unknown>> {
  const { documents } = await node.list({ bucket: "things", limit: 1_000 });
  return Object.fromEntries(documents.map(({ name, json }) => [name, JSON.parse(json) as unknown]));
}

/** Waits until a node has stopped itself; answers why. */
export async function failureOf(node: CairnNode): Promise<{ code: string; message: string }> {
  return await vi.waitFor(
    async () => {
      const { phase, failure } = await node.status();
      expect(phase).toBe("failed");
      if (failure === null) throw new Error("A failed node says why.");
      return failure;
    },
    { timeout: 30_000, interval: 50 },
  );
}

/** Waits until a node has left its index for another one, because of `code`, and is ready again. */
export async function rebuiltFor(node: CairnNode, code: string): Promise<void> {
  await vi.waitFor(
    async () => {
      const { phase, join } = await node.status();
      expect(join.movedAside.map((aside) => aside.code)).toEqual([code]);
      expect(phase).toBe("ready");
    },
    { timeout: 30_000, interval: 50 },
  );
}

/** The oracle: the node has everything that the log has, and gives the digest of the log's fold. */
export async function expectFoldOf(scene: Pick<FaultScene, "fold">, node: CairnNode): Promise<void> {
  const fold = await scene.fold();
  await node.await(fold.txId);
  expect(await node.digest()).toEqual({ txId: fold.txId, digest: fold.digest() });
}

/** A node that has stopped itself answers no read as right. */
export async function expectNoReads(node: CairnNode): Promise<void> {
  const key = { bucket: "things", namespace: "default", name: "k0" };
  await expect(node.get(key)).rejects.toMatchObject({ code: "NOT_READY" });
  await expect(node.list({ bucket: "things" })).rejects.toMatchObject({ code: "NOT_READY" });
  await expect(node.digest()).rejects.toMatchObject({ code: "NOT_READY" });
}
