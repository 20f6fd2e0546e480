// @module-tag nats
import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { Readable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import { type NatsTestServer, startNatsServer } from "@cairn/log-nats/testing";
import { expect, it, onTestFinished } from "vitest";
import { createCheckpoint, NodeProcess, runCairnOrThrow } from "@cairn/test-support/cairn-process";

const KILLS = 12;
const FOLDER_STORE = "cairn.checkpoint/->filesystem-checkpoint-store";

/** A node that writes and backs its log up, and a node that reads the backup. */
class ReaderScene {
  readonly folder: string;
  readonly nats: NatsTestServer;
  readonly writer: NodeProcess;
  #reader: NodeProcess | undefined;

  private constructor(folder: string, nats: NatsTestServer) {
    this.folder = folder;
    this.nats = nats;
    const checkpointer = { "log-backup": { every: "PT0.3S" } };
    this.writer = NodeProcess.start({
      id: "writer",
      dir: folder,
      args: ["-j", JSON.stringify({ "cairn/index-store": { "kv-store": { checkpointer } } })],
      env: { NATS_URL: nats.url, CAIRN_CHECKPOINT_PATH: path.join(folder, "checkpoints") },
    });
  }

  /** Backs up a checkpoint with `large` documents, and `small` documents that follow it. */
  static async open(large: number, small: number): Promise<ReaderScene> {
    const folder = await mkdtemp(path.join(tmpdir(), "cairn-killed-reader-"));
    const scene = new ReaderScene(folder, await startNatsServer());
    onTestFinished(() => scene.#close());
    const { writer } = scene;
    await writer.ready();
    const url = await writer.url();
    const load = async (name: string, count: number, bytes: number): Promise<void> => {
      const lines = Array.from({ length: count }, (_, n) => {
        const document = randomBytes(bytes).toString("base64");
        return `${JSON.stringify({ ops: [["put", "things", `${name}${n}`, document]] })}\n`;
      });
      await runCairnOrThrow(["load", "-", "--await", "--url", url], { input: Readable.from(lines) });
    };
    await load("large", large, 60_000);
    await createCheckpoint(url);
    await load("small", small, 300);
    for (;;) {
      const { index, logBackup } = await writer.status();
      if (logBackup?.covered?.at(-1)?.last === index.txId) break;
      await delay(100);
    }
    return scene;
  }

  startReader(): NodeProcess {
    const store = { "cairn/module": FOLDER_STORE, path: path.join(this.folder, "checkpoints") };
    const checkpointer = { store: null, "approx-frequency": null, "restore-from": [store] };
    const settings = {
      "cairn/tx-log": { "cairn/module": "cairn.log-backup/->tx-log", store, every: "PT0.3S" },
      "cairn/index-store": { "kv-store": { checkpointer } },
    };
    this.#reader = NodeProcess.start({
      id: "reader",
      dir: this.folder,
      args: ["-j", JSON.stringify(settings)],
    });
    return this.#reader;
  }

  async loseIndexOfReader(): Promise<void> {
    await rm(path.join(this.folder, "reader-index"), { recursive: true, force: true });
  }

  async #close(): Promise<void> {
    await this.#reader?.kill();
    await this.writer.kill();
    await this.nats.close();
    await rm(this.folder, { recursive: true, force: true });
  }
}

/** Expects that the reader, once started, is ready with the digest of the writer. */
async function expectRead(scene: ReaderScene): Promise<void> {
  const reader = scene.startReader();
  await reader.ready();
  expect(await reader.digest()).toEqual(await scene.writer.digest());
}

async function phaseOf(node: NodeProcess): Promise<string> {
  const url = await Promise.race([node.url(), delay(1, undefined)]);
  return url === undefined ? "starting" : (await node.status()).phase;
}

it(
  "a node that reads a backup is ready after a kill while it restores and replays",
  { tags: "rest/slow" },
  async () => {
    const scene = await ReaderScene.open(10, 100);
    const reader = scene.startReader();
    await reader.url();
    await reader.kill();
    await expectRead(scene);
  },
);

it(
  `a node that reads a backup is ready after ${KILLS} kills while it restores and replays`,
  { tags: "rest/campaign" },
  async () => {
    // This is enough for a restore and a replay that take longer than the start of the process.
    const scene = await ReaderScene.open(400, 3_000);
    const begun = performance.now();
    let reader = scene.startReader();
    await reader.url();
    const startMs = performance.now() - begun;
    await reader.ready();
    const joinMs = performance.now() - begun - startMs;
    await reader.kill();
    const phases = new Set<string>();
    for (let kill = 0; kill < KILLS; kill += 1) {
      // Half of the starts restore into an empty folder. The other half find the files that the previous kill left
      // behind.
      if (kill % 2 === 0) await scene.loseIndexOfReader();
      reader = scene.startReader();
      await reader.url();
      await delay(Math.random() * joinMs);
      phases.add(await phaseOf(reader));
      await reader.kill();
    }
    await expectRead(scene);
    // The kills occurred during the join.
    expect([...phases].some((phase) => phase !== "ready")).toBe(true);
  },
);
