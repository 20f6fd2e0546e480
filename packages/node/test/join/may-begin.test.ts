// @module-tag nats
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { expect, it, onTestFinished, vi } from "vitest";
import { lookBeforeBeginning } from "../../src/join/may-begin.ts";
import { openNatsTxLog } from "../../src/log/nats/nats-tx-log.ts";
import { startNatsServer } from "../../testing/nats-server.ts";
import { ClusterScene, put } from "../cluster/cluster-scene.ts";
import { quietSystem } from "../support/quiet-system.ts";

it("a node does not begin a log of which the index of another id in the same folder holds transactions", async () => {
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
});

it("other nodes that may not be asked are reported, and do not count as nodes that hold nothing", async () => {
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
  expect(found.holders).toEqual([]);
  expect(found.unknown).toMatchObject([{ code: "UNAUTHORIZED" }]);
});
