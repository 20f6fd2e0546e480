// @module-tag nats
// @module-tag rest/slow
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { CairnClient } from "@cairn/client";
import { testS3 } from "@cairn/localstack";
import { startNatsCluster } from "@cairn/log-nats/testing";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createCheckpoint, NodeProcess, ROOT, runCairnOrThrow } from "@cairn/test-support/cairn-process";

const TOKEN = "token-of-this-test";
const NAMES = ["node-1", "node-2", "node-3"];

type Service = { close(): Promise<void> };

let folder = "";
let env: NodeJS.ProcessEnv = {};
const services: Service[] = [];
const nodes: NodeProcess[] = [];

const start = (id: string): NodeProcess => {
  const node = NodeProcess.start({
    id,
    dir: path.join(folder, id),
    args: ["-f", path.join(ROOT, "deploy/cairn.edn")],
    env,
  });
  nodes.push(node);
  return node;
};

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "cairn-three-nodes-"));
  const nats = await startNatsCluster();
  services.push(nats);
  const s3 = await testS3();
  services.push(s3);
  env = {
    CAIRN_HTTP_HOST: "127.0.0.1",
    CAIRN_OPS_TOKEN: TOKEN,
    CAIRN_APP_TOKEN: "token-of-a-program",
    CAIRN_METRICS_TOKEN: "token-of-prometheus",
    NATS_URL: nats.urls.join(","),
    S3_BUCKET: s3.bucket,
    AWS_ENDPOINT_URL_S3: s3.endpoint,
    AWS_REGION: s3.region,
    AWS_ACCESS_KEY_ID: s3.credentials.accessKeyId,
    AWS_SECRET_ACCESS_KEY: s3.credentials.secretAccessKey,
  };
});

afterAll(async () => {
  await Promise.all(nodes.map((node) => (node.exited ? undefined : node.kill())));
  await Promise.all(services.map((service) => service.close()));
  await rm(folder, { recursive: true, force: true });
});

describe("three nodes with the configuration of compose.yaml and of the ConfigMap", () => {
  it("share one log and one checkpoint store, and can be replaced one at a time", async () => {
    const cluster = new Map(NAMES.map((name) => [name, start(name)]));
    await Promise.all([...cluster.values()].map((node) => node.ready()));
    const clientOf = async (node: NodeProcess): Promise<CairnClient> =>
      new CairnClient({ urls: await node.url(), token: TOKEN });
    const [first = start("none")] = cluster.values();
    const { txId } = await (await clientOf(first)).put("pods", "web-0", { image: "nginx" });
    await createCheckpoint(await first.url(), "--token", TOKEN);

    for (const [name, node] of cluster) {
      expect(await node.stop()).toBe(0);
      // The data of the old node is gone, as with a new machine.
      await rm(path.join(folder, name), { recursive: true });
      const replacement = start(name);
      await replacement.ready();
      const found = await (await clientOf(replacement)).get("pods", "web-0", { minTx: txId });
      expect(found?.document).toEqual({ image: "nginx" });
      const status = await runCairnOrThrow([
        "status",
        "--json",
        "--url",
        await replacement.url(),
        "--token",
        TOKEN,
      ]);
      expect(JSON.parse(status.stdout)).toMatchObject({
        phase: "ready",
        log: { name: "cairn" },
        join: { restoredFrom: { store: expect.stringMatching(/^s3:.*\/cairn$/) as string } },
      });
    }
  });
});
