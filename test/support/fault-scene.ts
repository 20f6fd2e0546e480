import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { type CairnNode, startNode } from "@cairn/node";
import { LogFold } from "@cairn/engine/testing";
import { NatsOperator, type NatsTestServer, startNatsServer } from "@cairn/log-nats/testing";
import { expect, vi } from "vitest";

/** Options for a node of a {@link FaultScene}. */
export interface SceneNodeOptions {
  readonly servers?: readonly string[];
  readonly onLogMismatch?: Readonly<Record<string, string>>;
  readonly replicas?: number;
  /** The name of the folder of checkpoints. */
  readonly checkpoints?: string;
}

/** A real nats-server, a folder of checkpoints, and nodes that use them. Its oracle is a fold of the stream. */
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

  /** Starts a node in this process without waiting until it is ready. */
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

  /** Starts a node in this process and waits until it is ready. */
  async ready(id: string, options: SceneNodeOptions = {}): Promise<CairnNode> {
    const node = await this.start(id, options);
    await node.ready;
    return node;
  }

  /** Runs `act` with an operator's access to the stream. */
  async operate<T>(act: (operator: NatsOperator) => Promise<T>): Promise<T> {
    return await NatsOperator.at(this.nats.url, act);
  }

  /**
   * Deletes the stream, and creates one in its place that is not a Cairn log, with a message for each of `texts`. Tries
   * again if the server ends meanwhile: nats-server 2.9 may panic if a message of a deleted stream is requested.
   */
  async replaceStream(texts: readonly string[]): Promise<void> {
    const replace = async (operator: NatsOperator): Promise<void> => {
      await operator.deleteStream();
      await operator.makeForeignStream(texts);
    };
    await vi.waitFor(async () => await this.operate(replace), { timeout: 10_000 });
  }

  /** Folds the current log without using any part of a node. */
  async fold(upTo?: number): Promise<LogFold> {
    return await this.operate(async (operator) => await LogFold.of(operator.messages(), upTo));
  }

  /** Restarts the server, and copies its store while it is stopped. */
  async copyStore(): Promise<void> {
    await this.nats.stop();
    await cp(this.nats.storeDir, path.join(this.folder, "nats-copy"), { recursive: true });
    await this.nats.start();
  }

  /** Stops the server and replaces its store with the copy. */
  async stopAndRestoreStore(): Promise<void> {
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

/**
 * Saves a checkpoint. Retries, because the node's own first look, which begins at a random instant within 30 seconds,
 * may be in progress.
 */
export async function saveCheckpoint(node: CairnNode): Promise<void> {
  await vi.waitFor(async () => await node.checkpoint().done, { timeout: 30_000 });
}

/** Puts `things/default/k<n>` for each n in its own transaction, and waits until the last one is applied. Returns its id. */
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

/** Returns the documents of a node's bucket `things`, by name. */
export async function values(node: CairnNode): Promise<Record<string, unknown>> {
  const { documents } = await node.list({ bucket: "things", limit: 1_000 });
  return Object.fromEntries(documents.map(({ name, json }) => [name, JSON.parse(json) as unknown]));
}

/** Waits until a node has failed, and returns the failure. */
export async function waitForFailure(node: CairnNode): Promise<{ code: string; message: string }> {
  return await vi.waitFor(
    async () => {
      const { phase, failure } = await node.status();
      expect(phase).toBe("failed");
      if (failure === null) throw new Error("The failed node reports no failure.");
      return failure;
    },
    { timeout: 30_000, interval: 50 },
  );
}

/** Waits until a node has moved one index aside, because of `code`, and is ready again. */
export async function waitForRebuild(node: CairnNode, code: string): Promise<void> {
  await vi.waitFor(
    async () => {
      const { phase, join } = await node.status();
      expect(join.movedAside.map((aside) => aside.code)).toEqual([code]);
      expect(phase).toBe("ready");
    },
    { timeout: 30_000, interval: 50 },
  );
}

/** Expects that the node has applied the whole log and has the digest of the log's fold, which is the oracle. */
export async function expectFoldOf(scene: Pick<FaultScene, "fold">, node: CairnNode): Promise<void> {
  const fold = await scene.fold();
  await node.await(fold.txId);
  const digest = await node.digest();
  const expected = { txId: fold.txId, digest: fold.digest() };
  // A digest does not show what is different.
  if (digest.digest !== expected.digest) await expectVersionsOf(fold, node);
  expect(digest).toEqual(expected);
}

/** Expects that a node has the newest 1,000 versions of each of the fold's keys. */
async function expectVersionsOf(fold: LogFold, node: CairnNode): Promise<void> {
  for (const key of fold.keys()) {
    const { versions } = await node.history(key, { limit: 1_000 });
    const seen = versions.map(({ revision, txTime, json }) => ({ revision, time: Date.parse(txTime), json }));
    const folded = fold.versions(key.bucket, `${key.namespace}/${key.name}`).slice(-1_000).toReversed();
    expect({ ...key, versions: seen }).toEqual({ ...key, versions: folded });
  }
}

/** Expects that a node that has failed refuses every read. */
export async function expectNoReads(node: CairnNode): Promise<void> {
  const key = { bucket: "things", namespace: "default", name: "k0" };
  await expect(node.get(key)).rejects.toMatchObject({ code: "NOT_READY" });
  await expect(node.list({ bucket: "things" })).rejects.toMatchObject({ code: "NOT_READY" });
  await expect(node.digest()).rejects.toMatchObject({ code: "NOT_READY" });
}
