import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { closeSync, constants, openSync, writeSync } from "node:fs";
import { cp, lstat, mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test as base, vi } from "vitest";
import { startNode } from "@cairn/node";
import { NodeProcess } from "@cairn/test-support/cairn-process";
import { savingConfig } from "@cairn/test-support/stores/saving-config";

const MAIN = fileURLToPath(new URL("../../dist/bundle/main.js", import.meta.url));
const CHECKPOINT = new URL("../../../checkpoint/dist/bundle/index.js", import.meta.url).href;

/**
 * A store in a folder on a volume that hangs: as soon as an archive is opened or written, a pipe is in its place. A
 * system call that waits for a pipe does not return either, and Node cannot interrupt it.
 */
const HANGING_STORE = `
import { open, rename } from "node:fs/promises";
import { join } from "node:path";
import { filesystemStore } from ${JSON.stringify(CHECKPOINT)};
export function create({ path, pipe }) {
  const store = filesystemStore({ path });
  let written;
  return {
    ...store,
    async open(name, options) {
      await rename(pipe, join(path, name));
      return store.open(name, options);
    },
    async upload(name, content, { direct, signal }) {
      written = await open(pipe, "r+");
      return { bytes: await direct.writeTo(written.fd, { explain: (error) => error, signal }) };
    },
  };
}
`;

let folder = "";
/** The name of an archive that is large enough for threads. */
let archive = "";

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "cairn-hung-store-"));
  archive = await saveLargeCheckpoint(join(folder, "saved"));
});

afterAll(() => rm(folder, { recursive: true, force: true }));

/** Saves a checkpoint that is large enough for threads. Returns the name of its archive. */
async function saveLargeCheckpoint(dir: string): Promise<string> {
  const node = await startNode(savingConfig(dir, "n", null));
  await node.ready;
  for (let n = 0; n < 24; n++) {
    // Random, so that it stays as large when the index compresses it.
    const ops = [["put", "blobs", `b${n}`, randomBytes(600_000).toString("base64")]] as const;
    const { txId } = await node.submit({ ops });
    await node.await(txId);
  }
  // Soon after its start, the node saves by itself, perhaps before it has everything.
  await vi.waitFor(() => node.checkpoint().done, { timeout: 60_000 });
  await node.close();
  const store = join(dir, "checkpoints");
  const archives = (await readdir(store)).filter((name) => name.endsWith(".tar"));
  const sizes = await Promise.all(archives.map(async (name) => (await lstat(join(store, name))).size));
  const largest = Math.max(...sizes);
  expect(largest).toBeGreaterThan(16 * 1024 * 1024);
  return archives[sizes.indexOf(largest)] ?? "";
}

/** A node whose store hangs, in a separate process, with a copy of the saved files. */
class HangingNode {
  readonly dir: string;
  output = "";
  #child: ChildProcess | undefined;

  private constructor(dir: string) {
    this.dir = dir;
  }

  static async prepare(): Promise<HangingNode> {
    const dir = await mkdtemp(join(folder, "node-"));
    await cp(join(folder, "saved"), dir, { recursive: true });
    execFileSync("mkfifo", [join(dir, "pipe")]);
    await writeFile(join(dir, "store.mjs"), HANGING_STORE);
    return new HangingNode(dir);
  }

  get archive(): string {
    return join(this.dir, "checkpoints", archive);
  }

  get process(): ChildProcess {
    if (this.#child === undefined) throw new Error("the node was not started");
    return this.#child;
  }

  async loseIndex(): Promise<void> {
    await rm(join(this.dir, "n-index"), { recursive: true });
  }

  /** Returns its URL. */
  async start(): Promise<string> {
    const store = {
      "cairn/module": "./store.mjs#create",
      path: join(this.dir, "checkpoints"),
      pipe: join(this.dir, "pipe"),
    };
    const file = join(this.dir, "cairn.json");
    await writeFile(file, JSON.stringify(savingConfig(this.dir, "n", { port: 0 }, store)));
    const child = spawn(process.execPath, [MAIN, "start", "-f", file], { cwd: this.dir });
    this.#child = child;
    for (const stream of [child.stdout, child.stderr])
      stream.on("data", (chunk) => (this.output += String(chunk)));
    return await vi.waitFor(
      () => {
        const found = /http:\/\/127\.0\.0\.1:\d+/.exec(this.output)?.[0];
        if (found === undefined) throw new Error(`no address: ${this.output}`);
        return found;
      },
      { timeout: 60_000 },
    );
  }

  async end(): Promise<void> {
    const child = this.#child;
    if (child !== undefined && child.exitCode === null && child.signalCode === null) {
      child.kill("SIGKILL");
      await once(child, "exit");
    }
    await rm(this.dir, { recursive: true, force: true });
  }
}

const test = base.extend<{ node: HangingNode }>({
  node: async ({ onTestFinished }, use) => {
    const node = await HangingNode.prepare();
    onTestFinished(() => node.end());
    await use(node);
  },
});

/** Returns the functions of the kernel in which the threads of a process wait. */
async function waitingIn(pid: number | undefined): Promise<string> {
  const tasks = await readdir(`/proc/${pid}/task`);
  const waits = tasks.map((task) => readFile(`/proc/${pid}/task/${task}/wchan`, "utf8").catch(() => ""));
  return (await Promise.all(waits)).join(" ");
}

/** The result of a process that is to end with `code` while a system call hangs. Node 20 cannot choose the code. */
function endWith(code: number): unknown[] {
  return "execve" in process ? [code, null] : [null, "SIGKILL"];
}

/** Stops the node, and requires that the process ends in time. */
async function expectToStop(node: HangingNode): Promise<void> {
  const begun = performance.now();
  const exited = once(node.process, "exit");
  node.process.kill("SIGTERM");
  expect(await exited).toEqual(endWith(0));
  expect(performance.now() - begun).toBeLessThan(12_000);
  expect(node.output).not.toContain("did not stop within");
}

/** Sends signals until the second one counts, and requires that the process then ends at once. */
async function expectToEndAtSecondSignal(node: HangingNode): Promise<void> {
  const exited = once(node.process, "exit");
  await vi.waitFor(
    () => {
      if (!node.output.includes("A second SIGTERM arrived")) node.process.kill("SIGTERM");
      expect(node.output).toContain("A second SIGTERM arrived");
    },
    { timeout: 5_000, interval: 200 },
  );
  const forced = performance.now();
  // The thread may not have begun to write, so that nothing hangs.
  expect([endWith(1), [1, null]]).toContainEqual(await exited);
  expect(performance.now() - forced).toBeLessThan(4_000);
}

// A node that stops waits for its store for five seconds.
describe.concurrent("a node", () => {
  test("stops although opening an archive of its store hangs", { tags: "rest/slow" }, async ({ node }) => {
    await node.loseIndex();
    await node.start();
    await vi.waitFor(async () => expect((await lstat(node.archive)).isFIFO()).toBe(true), {
      timeout: 60_000,
    });
    await expectToStop(node);
  });

  test(
    "stops although a thread hangs while it reads an archive of its store",
    { tags: "rest/slow" },
    async ({ node, onTestFinished }) => {
      const content = await readFile(node.archive);
      await node.loseIndex();
      const pipe = openSync(join(node.dir, "pipe"), constants.O_RDWR | constants.O_NONBLOCK);
      onTestFinished(() => closeSync(pipe));
      await node.start();
      // More than fits into the pipe, so that the thread has begun to read.
      let at = 0;
      await vi.waitFor(
        () => {
          at += writeSync(pipe, content, at, 4096);
          expect(at).toBeGreaterThan(1024 * 1024);
        },
        { timeout: 60_000, interval: 1 },
      );
      // While there is something to read, the thread does not hang.
      await vi.waitFor(async () => expect(await waitingIn(node.process.pid)).toMatch(/pipe_read/), {
        timeout: 60_000,
      });
      await expectToStop(node);
    },
  );

  describe.each([
    ["stops", expectToStop, ["rest/slow"]],
    ["ends at a second signal", expectToEndAtSecondSignal, []],
  ])("%s", (_, expectEnd, tags) => {
    test("although a thread hangs while it writes an archive to its store", { tags }, async ({ node }) => {
      const url = await node.start();
      await vi.waitFor(() => expect(node.output).toContain("n is ready"), { timeout: 60_000 });
      await fetch(`${url}/api/v1/pods/default/x`, { method: "PUT", body: "1" });
      const saving = fetch(`${url}/api/v1/checkpoints`, { method: "POST" }).catch(() => undefined);
      await vi.waitFor(
        async () => {
          const status: unknown = await (await fetch(`${url}/status`)).json();
          expect(status).toMatchObject({ checkpoints: { running: { step: "uploading" } } });
        },
        { timeout: 60_000 },
      );
      await expectEnd(node);
      await saving;
    });
  });
});

/** Makes each listing of one folder hang, as on a network volume whose server is away. */
const HANGING_FOLDER = `
const fs = require("node:fs");
const { readdir } = fs.promises;
fs.promises.readdir = (folder, ...rest) =>
  String(folder).startsWith(process.env.HANGING_FOLDER) ? new Promise(() => {}) : readdir(folder, ...rest);
require("node:module").syncBuiltinESMExports();
`;

base("a node listens although the folder of its store does not respond", async () => {
  const preload = join(folder, "hanging-folder.cjs");
  const store = join(folder, "hanging");
  await writeFile(preload, HANGING_FOLDER);
  const node = NodeProcess.start({
    id: "n",
    dir: join(folder, "listening"),
    env: { CAIRN_CHECKPOINT_PATH: store, HANGING_FOLDER: store, NODE_OPTIONS: `--require=${preload}` },
  });
  try {
    expect((await fetch(`${await node.url()}/health/live`)).status).toBe(200);
  } finally {
    await node.kill();
  }
});
