import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import type { Json, QueuePolicy, QueueStatus } from "@cairn/client";
import { type CairnNode, startNode } from "../../../src/index.ts";

/** An open entry's document. */
export const OPEN = { state: "new" };
export const QUEUE = "jobs";
export const POLICY: QueuePolicy = {
  shards: 8,
  cap: 1_000,
  terminal: { state: ["done", "dead"] },
  lease: "PT1S",
  retry: { first: 1, max: 1, limit: 3, dead: { state: "dead" } },
};

/** A node with an embedded log and a queue. */
export class DirectorScene {
  readonly node: CairnNode;
  readonly folder: string;

  private constructor(node: CairnNode, folder: string) {
    this.node = node;
    this.folder = folder;
  }

  static async start(policy: Partial<QueuePolicy> = {}): Promise<DirectorScene> {
    const folder = await mkdtemp(path.join(tmpdir(), "cairn-directors-"));
    const node = await startNode(
      { "cairn/node": { id: "n", dir: folder }, "cairn/http-server": { port: 0 } },
      { env: {} },
    );
    await node.ready;
    const scene = new DirectorScene(node, folder);
    await scene.configure(policy);
    return scene;
  }

  async configure(policy: Partial<QueuePolicy>): Promise<void> {
    const queues = { [QUEUE]: { ...POLICY, ...policy } };
    const { committed, reason } = await this.transact(["configure", { queues }]);
    if (!committed) throw new Error(reason);
  }

  async transact(...ops: Parameters<CairnNode["submit"]>[0]["ops"]) {
    return await this.node.await(await this.node.submit({ ops }));
  }

  /** Enqueues entries, several in one transaction. */
  async enqueue(entries: readonly string[], document: Json = OPEN): Promise<void> {
    for (let at = 0; at < entries.length; at += 100) {
      await this.transact(
        ...entries.slice(at, at + 100).map((name) => ["enqueue", QUEUE, name, document] as const),
      );
    }
  }

  async queue(): Promise<QueueStatus> {
    return (await this.node.queue(QUEUE)).queue;
  }

  async document(name: string): Promise<Json | undefined> {
    const { entry } = await this.node.entry(QUEUE, name);
    return entry === undefined ? undefined : (JSON.parse(entry.document.json) as Json);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.node.close();
    await rm(this.folder, { recursive: true, force: true });
  }
}

/** Returns `count` names. */
export function names(count: number, prefix = "e"): string[] {
  return Array.from({ length: count }, (_, n) => `${prefix}${n}`);
}
