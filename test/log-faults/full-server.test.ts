// @module-tag nats
// @module-tag rest/root
import { mkdtemp, rm, unlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { type CairnNode, startNode } from "@cairn/node";
import { LogFold } from "@cairn/engine/testing";
import { NatsOperator, startNatsServer } from "@cairn/log-nats/testing";
import { expect, it, onTestFinished, vi } from "vitest";
import { expectFoldOf, put, values } from "@cairn/test-support/fault-scene";
import { mountSmallDisk } from "@cairn/test-support/small-disk";

const SLOW_WAIT = { timeout: 120_000, interval: 250 };
const FILLER = "x".repeat(20_000);

/** The last case of `docs/nats.md`, "A full disk": another program has filled the disk. */
it("a server whose disk is full loses nothing, and nodes continue after space has been freed and the server has been restarted", async () => {
  const folder = await mkdtemp(path.join(tmpdir(), "cairn-full-server-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const disk = await mountSmallDisk(path.join(folder, "disk"), 4);
  onTestFinished(() => disk.unmount());
  const config = path.join(folder, "server.conf");
  const log = path.join(folder, "server.log");
  // The limit is larger than the disk, so that the server never reaches it.
  await writeFile(
    config,
    `jetstream { store_dir: "${disk.path}/jetstream", max_file_store: 1G }\nlog_file: "${log}"\n`,
  );
  const nats = await startNatsServer({ jetStream: false, args: ["-c", config] });
  onTestFinished(() => nats.close());
  const unrelated = path.join(disk.path, "other");
  await writeFile(unrelated, Buffer.alloc(2_000_000));
  const node: CairnNode = await startNode({
    "cairn/node": { id: "a", dir: path.join(folder, "a") },
    "cairn/http-server": null,
    "cairn/tx-log": { "cairn/module": "cairn.nats/->tx-log", servers: [nats.url] },
  });
  onTestFinished(() => node.close());
  await node.ready;

  const acknowledged: number[] = [];
  const fill = async (): Promise<void> => {
    for (let n = 0; n < 400; n += 1) {
      await node.submit({ ops: [["put", "things", `default/k${n}`, FILLER]] }, { timeoutMs: 4_000 });
      acknowledged.push(n);
    }
  };
  const error: unknown = await fill().catch((thrown: unknown) => thrown);
  expect(acknowledged.length).toBeGreaterThan(10);
  expect(error).toMatchObject({
    code: expect.stringMatching(/^(LOG_UNREACHABLE|TX_TIMEOUT)$/),
    hint: expect.any(String),
  });

  await unlink(unrelated);
  // nats-server 2.9 ignores SIGTERM in this state.
  await nats.kill();
  await nats.start();
  await vi.waitFor(async () => await put(node, 1_000, 1_001, "after"), SLOW_WAIT);
  const kept = await values(node);
  for (const n of acknowledged) expect(kept[`k${n}`]).toBe(FILLER);
  const fold = (): Promise<LogFold> =>
    NatsOperator.at(nats.url, async (operator) => await LogFold.of(operator.messages()));
  await expectFoldOf({ fold }, node);
});
