import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { CairnClient, type QueuePolicy } from "@cairn/client";
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from "vitest";
import { NodeProcess } from "@cairn/test-support/cairn-process";
import { DirectorProcess, Handlings } from "./director-process.ts";
import type { Task } from "./task-director.ts";

const PATIENT = { timeout: 60_000, interval: 50 };
const POLICY: QueuePolicy = { shards: 8, cap: 1_000, terminal: { state: ["done", "dead"] }, lease: "PT5S" };

let folder = "";
let node: NodeProcess;
let client: CairnClient;
const queues: Record<string, QueuePolicy> = {};

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "cairn-busy-"));
  node = NodeProcess.start({ id: "n", dir: folder });
  await node.ready();
  client = new CairnClient({ urls: await node.url() });
});

afterAll(async () => {
  await node.kill();
  await rm(folder, { recursive: true, force: true });
});

/** A queue of its own, and the directors that work on it. */
class Scene {
  readonly queue = `jobs-${Object.keys(queues).length}`;
  readonly handlings = new Handlings();
  readonly directors: DirectorProcess[] = [];

  static async open(policy: Partial<QueuePolicy>, entries: Readonly<Record<string, Task>>): Promise<Scene> {
    const scene = new Scene();
    queues[scene.queue] = { ...POLICY, ...policy };
    await client.transact({ ops: [["configure", { queues: { ...queues } }]] });
    const ops = Object.entries(entries).map(([name, task]) => ["enqueue", scene.queue, name, task] as const);
    await client.transact({ ops });
    onTestFinished(async () => void (await Promise.all(scene.directors.map((one) => one.kill()))));
    return scene;
  }

  async start(concurrency: number): Promise<DirectorProcess> {
    const name = `director-${this.directors.length}`;
    const director = new DirectorProcess(await node.url(), this.queue, name, concurrency, this.handlings);
    this.directors.push(director);
    return director;
  }

  async finished(): Promise<void> {
    const check = async (): Promise<void> => {
      const { open } = await client.queue(this.queue);
      if (open > 0) throw new Error(`${open} entries are open.`);
    };
    await vi.waitFor(check, PATIENT);
  }

  /** Stops the directors, and returns their exit codes. */
  async stop(): Promise<readonly (number | null)[]> {
    return await Promise.all(this.directors.map((one) => one.stop()));
  }
}

function tasks(count: number, task: Omit<Task, "state">): Record<string, Task> {
  return Object.fromEntries(
    Array.from({ length: count }, (_, n) => [`e${String(n).padStart(2, "0")}`, { state: "new", ...task }]),
  );
}

function onceEach(entries: Readonly<Record<string, Task>>): Map<string, number> {
  return new Map(Object.keys(entries).map((name) => [name, 1]));
}

describe("handlers that keep their thread busy", () => {
  it.each<[what: string, directors: number, lease: string, task: Omit<Task, "state">]>([
    ["at once, with two directors", 2, "PT4S", { busyMs: 700 }],
    ["after they have waited, with two directors", 2, "PT4S", { waitMs: 20, busyMs: 700 }],
  ])("handle each entry once, %s", async (_what, directors, lease, task) => {
    const entries = tasks(12, task);
    const scene = await Scene.open({ lease }, entries);
    for (let n = 0; n < directors; n += 1) await scene.start(8);
    await scene.finished();
    const { counts, reports } = scene.handlings;
    expect([new Map([...counts].toSorted()), reports]).toEqual([onceEach(entries), []]);
    expect(await scene.stop()).toEqual(scene.directors.map(() => 0));
  });

  it("handle each entry once even if a handler takes longer than the lease, and say so", async () => {
    const entries = tasks(3, { busyMs: 2_500 });
    const scene = await Scene.open({ lease: "PT2S" }, entries);
    await scene.start(8);
    await scene.finished();
    const { counts, reports } = scene.handlings;
    expect(counts).toEqual(onceEach(entries));
    expect(reports).toEqual([expect.stringMatching(/^THREAD_BUSY - .* was busy or stopped for 2\.5 s/)]);
    expect(await scene.stop()).toEqual([0]);
  });
});
