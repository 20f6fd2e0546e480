// @module-tag rest/slow
// @module-tag nats
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { filesystemStore, listCheckpoints } from "@cairn/checkpoint";
import { startNatsServer } from "@cairn/log-nats/testing";
import { expect, it, onTestFinished, vi } from "vitest";
import { CAIRN, runCairnOrThrow, NodeProcess } from "@cairn/test-support/cairn-process";

const REBUILD = ["checkpoint", "create", "--rebuild"];

async function* lines(transactions: number): AsyncGenerator<string> {
  for (let from = 0; from < transactions; from += 1_000) {
    let text = "";
    for (let n = from; n < from + 1_000; n += 1)
      text += `{"ops": [["put", "things", "k${n % 5_000}", ${n}]]}\n`;
    yield text;
  }
}

/** Returns the size in bytes of the files in a folder. */
async function bytesIn(folder: string): Promise<number> {
  const names = await readdir(folder).catch(() => []);
  const sizes = await Promise.all(
    names.map((name) =>
      stat(path.join(folder, name)).then(
        ({ size }) => size,
        () => 0,
      ),
    ),
  );
  return sizes.reduce((sum, size) => sum + size, 0);
}

/** A running node with a log, and an operator whose rebuild of its index is killed. */
class RebuildScene {
  readonly folder: string;
  readonly store: string;
  readonly node: NodeProcess;
  readonly #env: NodeJS.ProcessEnv;

  private constructor(folder: string, url: string) {
    this.folder = folder;
    this.store = path.join(folder, "checkpoints");
    const env = { NATS_URL: url, CAIRN_CHECKPOINT_PATH: path.join(folder, "not-the-operators") };
    this.#env = { ...env, CAIRN_CHECKPOINT_PATH: this.store, CAIRN_DIR: path.join(folder, "operator") };
    this.node = NodeProcess.start({ id: "running", dir: path.join(folder, "running"), env });
    onTestFinished(() => this.node.kill());
  }

  static async open(transactions: number): Promise<RebuildScene> {
    const folder = await mkdtemp(path.join(tmpdir(), "cairn-rebuild-"));
    onTestFinished(() => rm(folder, { recursive: true, force: true }));
    const server = await startNatsServer();
    onTestFinished(() => server.close());
    const scene = new RebuildScene(folder, server.url);
    await scene.node.ready();
    const args = ["load", "-", "--await", "--url", await scene.node.url()];
    await runCairnOrThrow(args, { input: lines(transactions) });
    return scene;
  }

  /** Kills a rebuild once the files of its index have more than `bytes` bytes. */
  async killRebuild(bytes: number): Promise<void> {
    const killed = spawn(process.execPath, [CAIRN, ...REBUILD], {
      env: { ...process.env, ...this.#env },
      stdio: "ignore",
    });
    const closed = once(killed, "close");
    const live = path.join(this.folder, "operator", "rebuild", "live");
    await vi.waitUntil(async () => (await bytesIn(live)) > bytes, { timeout: 30_000, interval: 5 });
    killed.kill("SIGKILL");
    await closed;
  }

  async rebuild(): Promise<string> {
    return (await runCairnOrThrow(REBUILD, { env: this.#env })).stdout;
  }

  /** Returns the transactions of the checkpoints that have been published. */
  async published(): Promise<number[]> {
    const { checkpoints } = await listCheckpoints(filesystemStore({ path: this.store }));
    return checkpoints.map(({ txId }) => txId);
  }
}

async function expectVerified({ folder, store, node }: RebuildScene): Promise<void> {
  const verified = await runCairnOrThrow(["checkpoint", "verify", store, "--json"]);
  expect(JSON.parse(verified.stdout)).toMatchObject({ digest: (await node.digest()).digest });
  expect(await readdir(path.join(folder, "operator"))).toEqual([]);
}

it("after a rebuild that was killed, the next one publishes the whole log", async () => {
  const scene = await RebuildScene.open(2_000);
  await scene.killRebuild(0);
  await scene.rebuild();
  expect(await scene.published()).toEqual([2_001]);
  await expectVerified(scene);
});

it(
  "a rebuild that is killed in the middle publishes nothing, and the next one continues from the partial result",
  { tags: "rest/slow" },
  async () => {
    const scene = await RebuildScene.open(20_000);
    await scene.killRebuild(200_000);
    expect(await scene.published()).toEqual([]);
    expect(await scene.rebuild()).toMatch(
      /^rebuilt 20,001 transactions of the log cairn, resumed after transaction [\d,]+; saved checkpoint-20001-/,
    );
    await expectVerified(scene);
  },
);
