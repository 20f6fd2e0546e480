import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { CairnClient, type QueuePolicy } from "@cairn/client";
import { afterAll, beforeAll, onTestFinished, vi } from "vitest";
import { NodeProcess, ROOT } from "@cairn/test-support/cairn-process";
import type { Task } from "./task-director.ts";

const PROGRAM = path.join(ROOT, "test/dist/deliveries/task-director.js");

/** What directors in processes of their own have done. */
export class Handlings {
  /** How often each entry was handed out. */
  readonly counts = new Map<string, number>();
  /** What was reported: the code, the entry, and the message. */
  readonly reports: string[] = [];

  note(line: string): void {
    const [, word, rest = ""] = /^(\S+) (.*)$/.exec(line) ?? [];
    if (word === "handles") this.counts.set(rest, (this.counts.get(rest) ?? 0) + 1);
    else if (word === "reports") this.reports.push(rest);
  }
}

/** A director in a process of its own. */
export class DirectorProcess {
  readonly exited: Promise<unknown>;
  readonly #child: ChildProcess;

  constructor(url: string, queue: string, name: string, concurrency: number, handlings: Handlings) {
    const args = [PROGRAM, url, queue, name, String(concurrency)];
    const child = spawn(process.execPath, args, { stdio: ["pipe", "pipe", "inherit"] });
    createInterface({ input: child.stdout }).on("line", (line) => handlings.note(line));
    this.#child = child;
    this.exited = once(child, "close");
  }

  /** Ends the process with SIGTERM, and returns its exit code. */
  async stop(): Promise<number | null> {
    this.#child.kill("SIGTERM");
    await this.exited;
    return this.#child.exitCode;
  }

  async kill(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.exited;
  }
}

const PATIENT = { timeout: 60_000, interval: 50 };
const POLICY: QueuePolicy = { shards: 8, cap: 1_000, terminal: { state: ["done", "dead"] }, lease: "PT5S" };

/** Registers the hooks that start and end a node in a process of its own, on which each scene has a queue. */
export function taskScenes(): { open(policy: Partial<QueuePolicy>, entries: Tasks): Promise<TaskScene> } {
  let folder = "";
  let node: NodeProcess;
  const queues: Record<string, QueuePolicy> = {};
  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), "cairn-tasks-"));
    node = NodeProcess.start({ id: "n", dir: folder });
    await node.ready();
  });
  afterAll(async () => {
    await node.kill();
    await rm(folder, { recursive: true, force: true });
  });
  return {
    async open(policy, entries) {
      const scene = new TaskScene(await node.url(), `jobs-${Object.keys(queues).length}`);
      queues[scene.queue] = { ...POLICY, ...policy };
      await scene.client.transact({ ops: [["configure", { queues: { ...queues } }]] });
      const ops = Object.entries(entries).map(
        ([name, task]) => ["enqueue", scene.queue, name, task] as const,
      );
      await scene.client.transact({ ops });
      onTestFinished(async () => void (await Promise.all(scene.directors.map((one) => one.kill()))));
      return scene;
    },
  };
}

type Tasks = Readonly<Record<string, Task>>;

/** A queue of tasks, and the directors that work on it. */
class TaskScene {
  readonly url: string;
  readonly queue: string;
  readonly client: CairnClient;
  readonly handlings = new Handlings();
  readonly directors: DirectorProcess[] = [];

  constructor(url: string, queue: string) {
    this.url = url;
    this.queue = queue;
    this.client = new CairnClient({ urls: url });
  }

  start(concurrency: number): DirectorProcess {
    const name = `director-${this.directors.length}`;
    const director = new DirectorProcess(this.url, this.queue, name, concurrency, this.handlings);
    this.directors.push(director);
    return director;
  }

  async finished(): Promise<void> {
    const check = async (): Promise<void> => {
      const { open } = await this.client.queue(this.queue);
      if (open > 0) throw new Error(`${open} entries are open.`);
    };
    await vi.waitFor(check, PATIENT);
  }

  /** Stops the directors, and returns their exit codes. */
  async stop(): Promise<readonly (number | null)[]> {
    return await Promise.all(this.directors.map((one) => one.stop()));
  }
}

/** Returns tasks that are all the same. */
export function tasks(count: number, task: Omit<Task, "state">): Record<string, Task> {
  return Object.fromEntries(
    Array.from({ length: count }, (_, n) => [`e${String(n).padStart(2, "0")}`, { state: "new", ...task }]),
  );
}
