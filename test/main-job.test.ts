// @module-tag nats
import { mkdtemp, open, readdir, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { historyLines, makeRepository, type MadeRepository } from "@cairn/example-git-history";
import { type NatsTestServer, startNatsServer } from "@cairn/log-nats/testing";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { fixtureConfig, NodeProcess, runCairn, saveCheckpoint } from "@cairn/test-support/cairn-process";
import { gitFiles, indexedFiles, withLineBreaks } from "@cairn/test-support/files-oracle";

/** Overrides the frequency of the fixture, so that checkpoints are saved during the test. */
const FREQUENT = '{:cairn/index-store {:kv-store {:checkpointer {:approx-frequency "PT1S"}}}}';

function describeJob(commits: number, tags: readonly string[]): void {
  describe(
    `a cluster that shares checkpoints of an index of ${commits} commits built from NATS`,
    { tags: [...tags] },
    () => {
      let folder = "";
      let nats: NatsTestServer;
      let repository: MadeRepository;
      let checkpoints = "";
      let a: NodeProcess;
      const started: NodeProcess[] = [];

      function startNode(id: string, args: readonly string[], dir = path.join(folder, id)): NodeProcess {
        const env = { NATS_URL: nats.url, CAIRN_CHECKPOINT_PATH: checkpoints };
        const node = NodeProcess.start({ id, dir, args, env });
        started.push(node);
        return node;
      }

      beforeAll(async () => {
        folder = await mkdtemp(path.join(tmpdir(), "cairn-main-"));
        checkpoints = path.join(folder, "checkpoints");
        nats = await startNatsServer();
        repository = await makeRepository({
          directory: path.join(folder, "repo.git"),
          commits,
          seed: 7,
        });
      });
      afterAll(async () => {
        await Promise.all(started.filter((node) => !node.exited).map((node) => node.kill()));
        await nats?.close();
        await rm(folder, { recursive: true, force: true });
      });

      it("loads a history into node A, which saves checkpoints by itself", async () => {
        a = startNode("node-a", ["-f", fixtureConfig("crux.edn"), "-e", FREQUENT]);
        await a.ready();
        const url = await a.url();
        const loaded = await runCairn(["load", "-", "--await", "--json", "--url", url], {
          input: withLineBreaks(historyLines({ directory: repository.directory, name: "repo" })),
        });
        expect(loaded.stderr + loaded.stdout).toContain('"transactions"');
        expect(JSON.parse(loaded.stdout)).toMatchObject({ transactions: expect.any(Number) });
        const { transactions, lastTxId } = JSON.parse(loaded.stdout) as {
          transactions: number;
          lastTxId: number;
        };
        expect(transactions).toBeGreaterThanOrEqual(commits);
        // The birth record is the log's first message.
        expect(lastTxId).toBe(transactions + 1);
        await vi.waitFor(
          async () => expect((await a.status()).checkpoints.last).toMatchObject({ txId: lastTxId }),
          { timeout: 30_000, interval: 100 },
        );
      });

      it("has exactly the files of git ls-tree, and the same digest, on node B, which restored most of it", async () => {
        const b = startNode("node-b", ["-f", fixtureConfig("crux.json")]);
        await b.ready();
        const { join, index, log } = await b.status();
        expect(join.restoredFrom).toMatchObject({ name: expect.stringMatching(/^checkpoint-/) });
        expect(join.replayed).toBe((index.txId ?? 0) - (join.restoredFrom?.txId ?? 0));
        expect(index.txId).toBe(log.lastTxId);
        expect(await b.digest()).toEqual(await a.digest());
        expect(await indexedFiles(await b.url())).toEqual(await gitFiles(repository.directory));
        await b.stop();
      });

      it("replays only the transactions after the checkpoint", async () => {
        await a.stop();
        const b = startNode("node-b", ["-f", fixtureConfig("crux.json")]);
        await b.ready();
        await b.stop();
        const c = startNode("node-c", ["-f", fixtureConfig("crux.clj.edn")]);
        await c.ready();
        const url = await c.url();
        const before = (await c.status()).join;
        expect(before.replayed).toBe(0);
        for (let n = 0; n < 3; n += 1) {
          const put = await runCairn(["tx", "put", "notes", `default/n${n}`, String(n), "--url", url]);
          expect(put.code).toBe(0);
        }
        const d = startNode("node-d", ["-f", fixtureConfig("crux.json")]);
        await d.ready();
        const { join } = await d.status();
        expect(join.replayed).toBe(3);
        expect(await d.digest()).toEqual(await c.digest());
        await Promise.all([c.stop(), d.stop()]);
      });

      it("joins from the previous checkpoint if a byte of the newest one is flipped, and reports the skipped one", async () => {
        const e = startNode("node-e", ["-f", fixtureConfig("crux.edn")]);
        await e.ready();
        const url = await e.url();
        const newest = await saveCheckpoint(url);
        const archives = (await readdir(checkpoints)).filter((name) => name.endsWith(".tar"));
        expect(archives.length).toBeGreaterThanOrEqual(2);
        await flipMiddleByte(path.join(checkpoints, `${newest}.tar`));
        const f = startNode("node-f", ["-f", fixtureConfig("crux.json")]);
        await f.ready();
        const { join } = await f.status();
        expect(join.skipped).toMatchObject([{ name: newest, code: "CHECKPOINT_CORRUPT" }]);
        expect(join.restoredFrom?.name).not.toBe(newest);
        expect(join.restoredFrom).not.toBeNull();
        expect(await f.digest()).toEqual(await e.digest());
        expect(await indexedFiles(await f.url())).toEqual(await gitFiles(repository.directory));
        await Promise.all([e.stop(), f.stop()]);
      });
    },
  );
}

describeJob(150, []);
describeJob(3_200, ["rest/slow"]);

async function flipMiddleByte(file: string): Promise<void> {
  const { size } = await stat(file);
  const handle = await open(file, "r+");
  try {
    const byte = Buffer.alloc(1);
    await handle.read(byte, 0, 1, Math.floor(size / 2));
    byte[0] = (byte[0] ?? 0) ^ 0xff;
    await handle.write(byte, 0, 1, Math.floor(size / 2));
  } finally {
    await handle.close();
  }
}
