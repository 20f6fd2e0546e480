// @module-tag nats
import { mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { startNatsServer } from "@cairn/log-nats/testing";
import { afterAll, beforeAll, expect, it, onTestFinished, vi } from "vitest";
import { runCairnOrThrow, NodeProcess } from "@cairn/test-support/cairn-process";

let folder = "";
const started: NodeProcess[] = [];

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "cairn-two-logs-"));
});
afterAll(async () => {
  await Promise.all(started.filter((node) => !node.exited).map((node) => node.kill()));
  await rm(folder, { recursive: true, force: true });
});

/** Starts a node whose checkpoints are in `store`; by default its log is embedded. */
async function start(id: string, store: string, env: NodeJS.ProcessEnv = {}): Promise<NodeProcess> {
  const file = path.join(folder, `${id}.json`);
  const place = {
    "cairn/module": "cairn.checkpoint/->filesystem-checkpoint-store",
    path: path.join(folder, store),
  };
  const checkpointer = { store: place, "approx-frequency": "PT1S" };
  await writeFile(file, JSON.stringify({ "cairn/index-store": { "kv-store": { checkpointer } } }));
  const node = NodeProcess.start({ id, dir: path.join(folder, id), args: ["-f", file], env });
  started.push(node);
  await node.ready();
  return node;
}

/** Writes a document and waits for a checkpoint that contains it. */
async function writeAndSave(node: NodeProcess, value: number): Promise<void> {
  await runCairnOrThrow(["tx", "put", "things", "one", String(value), "--url", await node.url()]);
  await vi.waitFor(
    async () => {
      const { checkpoints, index } = await node.status();
      expect(checkpoints.last?.txId).toBe(index.txId);
    },
    { timeout: 60_000, interval: 100 },
  );
}

it("nodes of two logs that save to one folder all keep saving", { tags: "rest/slow" }, async () => {
  const nodes = await Promise.all([start("a", "store"), start("b", "store")]);
  for (const value of [1, 2]) await Promise.all(nodes.map((node) => writeAndSave(node, value)));
  for (const node of nodes) expect((await node.status()).checkpoints.warnings).toEqual([]);
});

it(
  "a node that was started without its cluster's log warns as soon as it is ready, and joins after its hint was followed",
  { tags: "rest/slow" },
  async () => {
    const nats = await startNatsServer();
    onTestFinished(() => nats.close());
    const env = { NATS_URL: nats.url };
    const first = await start("first", "shared", env);
    await writeAndSave(first, 1);
    expect((await first.status()).log.warnings).toEqual([]);

    const astray = await start("astray", "shared");
    const { stdout } = await runCairnOrThrow(["status", "--url", await astray.url()]);
    const warned =
      /^Attention +LOG_DIFFERENT: (This node started with its own log, .*\.) \(since .*\)\n +Meanwhile, .*\n +(.*)$/m.exec(
        stdout,
      );
    const [, message = "", hint = ""] = warned ?? [];
    expect(message).toContain(`of "cairn" (${(await first.status()).log.id})`);
    expect((await astray.status()).log.warnings).toEqual([{ code: "LOG_DIFFERENT", message, hint }]);
    const line = astray.lines.find((one) => one.includes("This node started with"));
    expect(JSON.parse(line ?? "{}")).toMatchObject({
      level: "warn",
      code: "LOG_DIFFERENT",
      hint,
      msg: message,
    });

    // The node warns again after a restart, for as long as nothing has been written to its log.
    await astray.stop();
    const again = await start("astray", "shared");
    expect((await again.status()).log.warnings).toMatchObject([{ code: "LOG_DIFFERENT" }]);

    await again.stop();
    const [, index = ""] = /move (\S+) away/.exec(hint) ?? [];
    await rename(index, `${index}-away`);
    const joined = await start("astray", "shared", env);
    const { log, join } = await joined.status();
    expect([log.warnings, join.restoredFrom?.name]).toEqual([[], expect.stringMatching(/^checkpoint-/)]);
    expect((await joined.digest()).digest).toBe((await first.digest()).digest);
  },
);

it(
  "a node on a log that was created on purpose does not warn about other logs' checkpoints",
  { tags: "rest/slow" },
  async () => {
    const nats = await startNatsServer();
    onTestFinished(() => nats.close());
    const env = { NATS_URL: nats.url };
    await writeAndSave(await start("old", "used"), 1);
    await runCairnOrThrow(["log", "create"], { cwd: folder, env });
    expect((await (await start("new", "used", env)).status()).log.warnings).toEqual([]);
  },
);
