// @module-tag nats
import { mkdtemp, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { pino } from "pino";
import { expect, it, onTestFinished, vi } from "vitest";
import { lookBeforeBeginning } from "../../src/join/may-begin.ts";
import { openNatsTxLog } from "@cairn/log-nats/src/nats-tx-log";
import { startNatsServer } from "@cairn/log-nats/testing";
import { ClusterScene, put } from "@cairn/test-support/nodes/cluster-scene";
import { quietSystem } from "@cairn/test-support/nodes/quiet-system";
import { saveCheckpoint } from "@cairn/test-support/stores/save-checkpoint";

it(
  "a node does not begin a log of which the index of another id in the same folder holds transactions",
  { tags: "rest/slow" },
  async () => {
    const scene = await ClusterScene.open();
    onTestFinished(() => scene.close());
    const a = await scene.ready("a");
    await put(a, 0, 5, "x");
    await scene.stop(a);
    await scene.loseLog();
    const b = await scene.start("b");
    await vi.waitFor(() => expect(b.phase).toBe("failed"), { timeout: 30_000 });
    const { failure, log } = await b.status();
    expect(failure).toMatchObject({
      code: "LOG_DIFFERENT",
      message: expect.stringMatching(/but \S+a-index of node a holds transactions up to 6\.$/),
      hint: expect.stringMatching(/set CAIRN_NODE_ID=a .*cairn log create --empty/),
    });
    expect(log.exists).toBe(false);
  },
);

it("each holder is named once, also the own index of a command", async () => {
  const scene = await ClusterScene.open();
  onTestFinished(() => scene.close());
  const a = await scene.ready("a");
  await put(a, 0, 5, "x");
  await scene.stop(a);
  const openTxLog = async () => await openNatsTxLog({ servers: scene.nats.url });
  const system = quietSystem({ folder: scene.folder, nodeId: "a", openTxLog });
  const { holders } = await lookBeforeBeginning({ name: "cairn" }, system);
  expect(holders).toEqual([expect.stringMatching(/^the index in \S+a-index\S+ holds transactions up to 6$/)]);
});

it(
  "if no checkpoint can be used, the log is continued from the index of a node",
  { tags: "rest/slow" },
  async () => {
    const scene = await ClusterScene.open();
    onTestFinished(() => scene.close());
    const a = await scene.ready("a");
    await put(a, 0, 5, "x");
    const name = await saveCheckpoint(a);
    await truncate(path.join(scene.folder, "checkpoints", `${name}.tar`), 512);
    await scene.loseLog();
    await vi.waitFor(() => expect(a.phase).toBe("failed"), { timeout: 30_000 });
    const b = await scene.start("b");
    await vi.waitFor(() => expect(b.phase).toBe("failed"), { timeout: 30_000 });
    expect((await a.status()).failure?.hint).toMatch(
      /cairn log recover, which begins one that continues after transaction 6, from the index of this node/,
    );
    expect((await b.status()).failure?.hint).toContain(
      "follow the hint in the status of node a on its machine: the log can be continued from its index, after transaction 6",
    );
  },
);

it(
  "a node whose host was renamed is named before the checkpoint from which a new log could continue",
  { tags: "rest/slow" },
  async () => {
    const scene = await ClusterScene.open();
    onTestFinished(() => scene.close());
    const a = await scene.ready("a");
    await put(a, 0, 5, "x");
    await saveCheckpoint(a);
    await scene.stop(a);
    await scene.loseLog();
    const b = await scene.start("b");
    await vi.waitFor(() => expect(b.phase).toBe("failed"), { timeout: 30_000 });
    const { failure } = await b.status();
    expect(failure?.hint).toMatch(/set CAIRN_NODE_ID=a .*cairn log recover, which begins one that continues/);
    expect(failure?.hint).not.toContain("only copies");
  },
);

it(
  "a log that is begun as configured, although something holds its transactions, is begun with a warning",
  { tags: "rest/slow" },
  async () => {
    const scene = await ClusterScene.open();
    onTestFinished(() => scene.close());
    const a = await scene.ready("a");
    await put(a, 0, 5, "x");
    await scene.stop(a);
    await scene.loseLog();
    const lines: { level: number; msg: string }[] = [];
    const logger = pino({ level: "info" }, { write: (line: string) => void lines.push(JSON.parse(line)) });
    await scene.ready("a", {
      logger,
      parts: { onLogMismatch: { regressed: "rebuild", different: "rebuild" } },
    });
    expect(lines.filter(({ msg }) => msg.includes("begins now"))).toMatchObject([
      {
        level: 40,
        msg: 'the log "cairn" begins now as configured, although the local index holds transactions up to 6',
      },
    ]);
  },
);

it("other nodes that may not be asked count as nodes that may hold transactions", async () => {
  const folder = await mkdtemp(path.join(tmpdir(), "cairn-may-begin-"));
  onTestFinished(() => rm(folder, { recursive: true }));
  const config = path.join(folder, "server.conf");
  const reader = `{ user: reader, password: r, permissions: { publish: { deny: ["_CAIRN.>"] } } }`;
  await writeFile(config, `authorization { users: [${reader}] }`);
  const nats = await startNatsServer({ args: ["-c", config] });
  onTestFinished(() => nats.close());
  const openTxLog = async () => await openNatsTxLog({ servers: nats.url, user: "reader", password: "r" });
  const log = await openTxLog();
  onTestFinished(() => log.close());
  const found = await lookBeforeBeginning(log, quietSystem({ folder, nodeId: "a", openTxLog }));
  expect(found.holders).toEqual([
    expect.stringMatching(/^it is unknown what other nodes hold \(UNAUTHORIZED: /),
  ]);
});
