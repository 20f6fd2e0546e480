// @module-tag rest/slow
// @module-tag nats
import { rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { type NatsTestServer, startNatsCluster } from "@cairn/log-nats/testing";
import { FaultScene } from "@cairn/test-support/fault-scene";
import { cairn, CapturedTerminal } from "@cairn/test-support/nodes/captured-terminal";
import { expect, it, onTestFinished, vi } from "vitest";

const WRITES = 20;

async function lose(servers: readonly NatsTestServer[]): Promise<void> {
  await Promise.all(servers.map((server) => server.stop()));
  for (const { storeDir } of servers) await rm(storeDir, { recursive: true });
  await Promise.all(servers.map((server) => server.start()));
}

it("a log of which two of three servers lost their disks is recovered as docs/recovery.md says, and nothing is lost", async () => {
  const cluster = await startNatsCluster();
  onTestFinished(() => cluster.close());
  const scene = await FaultScene.open();
  onTestFinished(() => scene.close());
  const log = { servers: cluster.urls, replicas: 3 };
  const node = await scene.ready("a", log);
  for (let n = 0; n < WRITES; n += 1)
    await node.await(await node.submit({ ops: [["put", "things", `k${n}`, n]] }));
  const { id: lost } = (await node.status()).log;
  const config = {
    "cairn/node": { id: "a", dir: path.join(scene.folder, "a") },
    "cairn/tx-log": { "cairn/module": "cairn.nats/->tx-log", ...log },
    "cairn/index-store": {
      "kv-store": {
        checkpointer: {
          "approx-frequency": "PT6H",
          store: {
            "cairn/module": "cairn.checkpoint/->filesystem-checkpoint-store",
            path: path.join(scene.folder, "checkpoints"),
          },
        },
      },
    },
  };
  await writeFile(path.join(scene.folder, "cairn.json"), JSON.stringify(config));
  const recover = async (): ReturnType<typeof cairn> =>
    await cairn(["log", "recover", "-f", "cairn.json"], new CapturedTerminal({ cwd: scene.folder, env: {} }));

  const [first, second] = cluster.servers;
  await lose([first, second].filter((one) => one !== undefined));
  // Whether the third server then leads the others, or they form a cluster without it, depends on their election.
  await lose(cluster.servers);
  await vi.waitFor(
    async () => expect(await recover()).toMatchObject({ code: 0, stderr: expect.any(String) }),
    {
      timeout: 60_000,
      interval: 1_000,
    },
  );
  await vi.waitFor(async () => {
    const { phase, log: followed } = await node.status();
    expect([phase, followed.id]).toEqual(["ready", expect.not.stringMatching(lost ?? "")]);
  }, 60_000);
  for (let n = 0; n < WRITES; n += 1) {
    const key = { bucket: "things", namespace: "default", name: `k${n}` };
    expect(await node.get(key)).toMatchObject({ json: `${n}` });
  }
  await node.await(await node.submit({ ops: [["put", "things", "more", 1]] }));
});
