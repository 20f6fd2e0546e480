// @module-tag rest/slow
// @module-tag nats
import { expect, it, onTestFinished } from "vitest";
import { bytes } from "@cairn/engine/testing";
import { openNatsTxLog } from "../src/nats-tx-log.ts";
import { startNatsCluster } from "../testing/nats-cluster.ts";

it("messages that a log without a majority of its servers refuses name the majority", async () => {
  const cluster = await startNatsCluster();
  onTestFinished(() => cluster.close());
  const [connected, ...others] = cluster.servers;
  const servers = connected?.url ?? "";
  const log = await openNatsTxLog({ servers, stream: "majority", replicas: 3, appendDeadlineMs: 5_000 });
  onTestFinished(() => log.close());
  await log.create(bytes);
  await log.append(bytes("sooner"));
  await Promise.all(others.map((server) => server.kill()));
  await expect(log.append(bytes("later"))).rejects.toMatchObject({
    code: "LOG_UNREACHABLE",
    hint: expect.stringMatching(/most of (the|its) cluster's servers are running/) as string,
  });
});
