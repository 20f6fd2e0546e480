import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { Readable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import { type NatsTestServer, startNatsServer } from "@cairn/node/testing";
import { afterAll, beforeAll, expect, it } from "vitest";
import { createCheckpoint, NodeProcess, runCairnOrThrow } from "../support/cairn-process.ts";

const KILLS = 12;
const FOLDER_STORE = "cairn.checkpoint/->filesystem-checkpoint-store";

let folder = "";
let nats: NatsTestServer;
let writer: NodeProcess;
let reader: NodeProcess | undefined;

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "cairn-killed-reader-"));
  nats = await startNatsServer();
  const checkpointer = { "log-backup": { every: "PT0.3S" } };
  writer = NodeProcess.start({
    id: "writer",
    dir: folder,
    args: ["-j", JSON.stringify({ "cairn/index-store": { "kv-store": { checkpointer } } })],
    env: { NATS_URL: nats.url, CAIRN_CHECKPOINT_PATH: path.join(folder, "checkpoints") },
  });
  await writer.ready();
  const url = await writer.url();
  const load = async (name: string, count: number, bytes: number): Promise<void> => {
    const lines = Array.from({ length: count }, (_, n) => {
      const document = randomBytes(bytes).toString("base64");
      return `${JSON.stringify({ ops: [["put", "things", `${name}${n}`, document]] })}\n`;
    });
    await runCairnOrThrow(["load", "-", "--await", "--url", url], { input: Readable.from(lines) });
  };
  // This is enough for a restore and a replay that take longer than the start of the process.
  await load("large", 400, 60_000);
  await createCheckpoint(url);
  await load("small", 3_000, 300);
  for (;;) {
    const { index, logBackup } = await writer.status();
    if (logBackup?.covered?.at(-1)?.last === index.txId) break;
    await delay(100);
  }
});
afterAll(async () => {
  await reader?.kill();
  await writer.kill();
  await nats.close();
  await rm(folder, { recursive: true, force: true });
});

function start(): NodeProcess {
  const store = { "cairn/module": FOLDER_STORE, path: path.join(folder, "checkpoints") };
  const checkpointer = { store: null, "approx-frequency": null, "restore-from": [store] };
  const settings = {
    "cairn/tx-log": { "cairn/module": "cairn.log-backup/->tx-log", store, every: "PT0.3S" },
    "cairn/index-store": { "kv-store": { checkpointer } },
  };
  return NodeProcess.start({ id: "reader", dir: folder, args: ["-j", JSON.stringify(settings)] });
}

async function phaseOf(node: NodeProcess): Promise<string> {
  const url = await Promise.race([node.url(), delay(1, undefined)]);
  return url === undefined ? "starting" : (await node.status()).phase;
}

it(`a node that reads a backup is ready after ${KILLS} kills while it restores and replays`, async () => {
  const begun = performance.now();
  reader = start();
  await reader.url();
  const startMs = performance.now() - begun;
  await reader.ready();
  const joinMs = performance.now() - begun - startMs;
  await reader.kill();
  const phases = new Set<string>();
  for (let kill = 0; kill < KILLS; kill += 1) {
    // Half of the starts restore into an empty folder. The other half find the files that the previous kill left
    // behind.
    if (kill % 2 === 0) await rm(path.join(folder, "reader-index"), { recursive: true, force: true });
    reader = start();
    await reader.url();
    await delay(Math.random() * joinMs);
    phases.add(await phaseOf(reader));
    await reader.kill();
  }
  reader = start();
  await reader.ready();
  expect(await reader.digest()).toEqual(await writer.digest());
  // The kills occurred during the join.
  expect([...phases].some((phase) => phase !== "ready")).toBe(true);
});
