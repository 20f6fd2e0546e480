import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import type { Json, QueuePolicy, QueueStatus, TxId } from "@cairn/client";
import { afterAll, beforeAll } from "vitest";
import { type CairnNode, startNode } from "@cairn/node";

/** An open entry's document. */
export const OPEN = { state: "new" };
export const QUEUE = "jobs";
/** Of two shards, one takes the entries until it is full, because the other one is kept spare. */
export const POLICY: QueuePolicy = {
  shards: 2,
  cap: 1_000,
  terminal: { state: ["done", "dead"] },
  lease: "PT1S",
  retry: { first: 1, max: 1, limit: 3, dead: { state: "dead" } },
};

/** A node with an embedded log, and queues. */
class DirectorNode {
  readonly node: CairnNode;
  readonly folder: string;
  /** The queues that are configured. */
  readonly #queues: Record<string, QueuePolicy> = {};

  private constructor(node: CairnNode, folder: string) {
    this.node = node;
    this.folder = folder;
  }

  static async start(): Promise<DirectorNode> {
    const folder = await mkdtemp(path.join(tmpdir(), "cairn-directors-"));
    const node = await startNode(
      { "cairn/node": { id: "n", dir: folder }, "cairn/http-server": { port: 0 } },
      { env: {} },
    );
    await node.ready;
    return new DirectorNode(node, folder);
  }

  async configure(queue: string, policy: Partial<QueuePolicy>): Promise<void> {
    this.#queues[queue] = { ...POLICY, ...policy };
    // Queues that are not named would cease to be queues.
    const submitted = await this.node.submit({ ops: [["configure", { queues: { ...this.#queues } }]] });
    const { committed, reason } = await this.node.await(submitted);
    if (!committed) throw new Error(reason);
  }

  async close(): Promise<void> {
    await this.node.close();
    await rm(this.folder, { recursive: true, force: true });
  }
}

/** A node for all tests of a file, each of which gets a queue of its own. */
export interface SharedNode {
  scene(policy?: Partial<QueuePolicy>): Promise<DirectorScene>;
}

/** Registers the hooks that start and close the node. */
export function sharedNode(): SharedNode {
  let shared: DirectorNode | undefined;
  let scenes = 0;
  beforeAll(async () => {
    shared = await DirectorNode.start();
  });
  afterAll(async () => await shared?.close());
  return {
    async scene(policy = {}) {
      if (shared === undefined) throw new Error("The node of the file has not started.");
      scenes += 1;
      const scene = new DirectorScene(shared, `${QUEUE}-${scenes}`, () => Promise.resolve());
      await scene.configure(policy);
      return scene;
    },
  };
}

/** A queue of a node. */
export class DirectorScene {
  /** The name of the queue. */
  readonly name: string;
  readonly node: CairnNode;
  readonly folder: string;
  readonly #host: DirectorNode;
  readonly #close: () => Promise<void>;

  constructor(host: DirectorNode, name: string, close: () => Promise<void>) {
    this.name = name;
    this.node = host.node;
    this.folder = host.folder;
    this.#host = host;
    this.#close = close;
  }

  /** Starts a node with one queue, which is closed with the scene. */
  static async start(policy: Partial<QueuePolicy> = {}): Promise<DirectorScene> {
    const host = await DirectorNode.start();
    const scene = new DirectorScene(host, QUEUE, () => host.close());
    await scene.configure(policy);
    return scene;
  }

  async configure(policy: Partial<QueuePolicy>): Promise<void> {
    await this.#host.configure(this.name, policy);
  }

  async transact(...ops: Parameters<CairnNode["submit"]>[0]["ops"]) {
    return await this.node.await(await this.node.submit({ ops }));
  }

  /** Enqueues entries, several in one transaction, and returns the number of the last one. */
  async enqueue(entries: readonly string[], document: Json = OPEN): Promise<{ readonly txId: TxId }> {
    let txId = 0;
    for (let at = 0; at < entries.length; at += 100) {
      ({ txId } = await this.transact(
        ...entries.slice(at, at + 100).map((name) => ["enqueue", this.name, name, document] as const),
      ));
    }
    return { txId };
  }

  async queue(): Promise<QueueStatus> {
    return (await this.node.queue(this.name)).queue;
  }

  async document(name: string): Promise<Json | undefined> {
    const { entry } = await this.node.entry(this.name, name);
    return entry === undefined ? undefined : (JSON.parse(entry.document.json) as Json);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#close();
  }
}

/** Returns `count` names. */
export function names(count: number, prefix = "e"): string[] {
  return Array.from({ length: count }, (_, n) => `${prefix}${n}`);
}
