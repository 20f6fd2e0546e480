import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { historyLines, makeRepository } from "@cairn/example-git-history";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createCheckpoint, fixtureConfig, NodeProcess, runCairn } from "@cairn/test-support/cairn-process";
import { gitFiles, indexedFiles, withLineBreaks } from "@cairn/test-support/files-oracle";

describe("a single node on the embedded log", () => {
  let folder = "";
  let repository = "";
  let node: NodeProcess;
  const start = (config: "crux.edn" | "crux.json" | "crux.clj.edn") =>
    NodeProcess.start({
      id: "solo",
      dir: folder,
      args: ["-f", fixtureConfig(config)],
      env: { CAIRN_CHECKPOINT_PATH: path.join(folder, "checkpoints") },
    });

  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), "cairn-embedded-"));
    repository = path.join(folder, "repo.git");
    await makeRepository({ directory: repository, commits: 400, seed: 3 });
  });
  afterAll(async () => {
    await node.kill();
    await rm(folder, { recursive: true, force: true });
  });

  it("restores from its checkpoint when its index is deleted, and replays only the tail", async () => {
    node = start("crux.edn");
    await node.ready();
    const url = await node.url();
    const input = withLineBreaks(historyLines({ directory: repository, name: "repo" }));
    expect((await runCairn(["load", "-", "--await", "--url", url], { input })).code).toBe(0);
    // If the node's own checkpointer was faster, this saves nothing, and that checkpoint is the newest.
    expect((await createCheckpoint(url)).stderr).toBe("");
    const checkpoint = (await node.status()).checkpoints.last;
    expect((await runCairn(["tx", "put", "notes", "one", "1", "--url", url])).code).toBe(0);
    const digest = await node.digest();
    expect(await node.stop()).toBe(0);

    await rm(path.join(folder, "solo-index", "live"), { recursive: true });
    node = start("crux.json");
    await node.ready();
    const { join } = await node.status();
    expect(join).toMatchObject({ restoredFrom: { name: checkpoint?.name }, replayed: 1, skipped: [] });
    expect(await node.digest()).toEqual(digest);
    expect(await indexedFiles(await node.url())).toEqual(await gitFiles(repository));
  });

  it("loses no acknowledged write when it is killed under writes", async () => {
    const url = await node.url();
    const acknowledged: number[] = [];
    const writers = Array.from({ length: 8 }, async (_, writer) => {
      for (let n = 0; ; n += 1) {
        const name = writer * 1_000_000 + n;
        const put = { method: "PUT", body: String(name) };
        const response = await fetch(`${url}/api/v1/kept/default/${name}`, put).catch(() => undefined);
        if (response?.status !== 201) return;
        acknowledged.push(name);
      }
    });
    await expect.poll(() => acknowledged.length, { timeout: 30_000 }).toBeGreaterThan(300);
    await node.kill();
    await Promise.all(writers);

    node = start("crux.clj.edn");
    await node.ready();
    const list = await runCairn(["list", "kept", "--all", "--json", "--url", await node.url()]);
    const found = new Set(
      list.stdout
        .split("\n")
        .filter((line) => line !== "")
        .map((line) => (JSON.parse(line) as { document: number }).document),
    );
    expect(acknowledged.filter((name) => !found.has(name))).toEqual([]);
  });

  it("keeps its index and its lock in its db-dir", async () => {
    expect((await readdir(path.join(folder, "solo-index"))).toSorted()).toEqual(
      expect.arrayContaining(["live", "lock"]),
    );
  });
});
