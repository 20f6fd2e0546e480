// @module-tag nats
import { utimes, writeFile } from "node:fs/promises";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from "vitest";
import { filesystemStore } from "@cairn/checkpoint";
import { backupLease, listBackups } from "@cairn/engine/src/backup/segments/segment-name";
import type { CairnNode } from "@cairn/engine";
import { BACKED_UP, backedUp, done, run } from "@cairn/test-support/nodes/recovery-scene";
import { runs } from "@cairn/test-support/nodes/trimmed-backup";
import { ClusterScene, put } from "@cairn/test-support/nodes/cluster-scene";
import { hurryClock } from "@cairn/test-support/nodes/hurried-clock";
import { backupCommands } from "./backup-commands.ts";

const HTTP = { host: "127.0.0.1", port: 0, maxBody: 1_000_000 };

describe("a refused prune of a log backup", () => {
  let scene: ClusterScene;
  let node: CairnNode;
  beforeEach(async () => {
    scene = await ClusterScene.open();
    node = await scene.ready("a", { parts: { ...BACKED_UP, http: HTTP } });
  });
  afterEach(() => scene.close());

  const prune = async (through: number): ReturnType<typeof run> =>
    await run(scene, "log", "backup", "prune", "--through", `${through}`);

  /** Runs the commands in a hint, in order. */
  const follow = async (hint: string): Promise<void> => {
    const commands = Array.from(
      hint.matchAll(/cairn (checkpoint create|checkpoint verify)/g),
      ([, one]) => one,
    );
    expect(commands).toEqual(["checkpoint create", "checkpoint verify"]);
    for (const command of commands) {
      const to = command === "checkpoint create" ? ["--url", node.url ?? ""] : ["checkpoints"];
      await done(scene, ...(command ?? "").split(" "), ...to);
    }
  };

  it(
    "names the commands after which it succeeds if there is no verified checkpoint, or only one that ends earlier",
    { tags: "rest/slow" },
    async () => {
      const first = await put(node, 0, 5, "first");
      await backedUp(node, first);
      const uncovered = await prune(first);
      expect(uncovered.stderr).toMatch(/^CONFLICT: .* There is no verified checkpoint/);
      await follow(uncovered.stderr);
      expect((await prune(first)).stdout).toMatch(/^removed everything up to transaction 6 /);
      const second = await put(node, 5, 10, "second");
      await backedUp(node, second);
      const earlier = await prune(second);
      expect(earlier.stderr).toMatch(
        /^CONFLICT: .* The newest verified checkpoint ends with transaction 6\./,
      );
      await follow(earlier.stderr);
      expect((await prune(second)).code).toBe(0);
      expect(await done(scene, "log", "backup", "verify")).toContain("is empty");
    },
  );

  it(
    "keeps the segments of an earlier log until the log that continues it has two verified checkpoints, and says how to save them",
    { tags: "rest/slow" },
    async () => {
      const lost = await put(node, 0, 5, "first");
      await backedUp(node, lost);
      await scene.stop(node);
      await scene.loseLog();
      await done(scene, "log", "recover");
      node = await scene.ready("a", { parts: { ...BACKED_UP, http: HTTP } });
      const store = filesystemStore({ path: path.join(scene.folder, "checkpoints") });
      const logs = await listBackups(store);
      await backedUp(node, await put(node, 5, 10, "second"));
      const uncovered = await prune(lost);
      expect(uncovered.stderr).toMatch(/^CONFLICT: .* There is no verified checkpoint/);
      await follow(uncovered.stderr);
      const needed = await prune(lost);
      expect(needed.stderr).toMatch(/^CONFLICT: .* until "cairn" has two verified checkpoints of its own\./);
      expect(await listBackups(store)).toEqual(expect.arrayContaining(logs));
      const last = await put(node, 10, 15, "third");
      await backedUp(node, last);
      await follow(needed.stderr);
      expect((await prune(lost)).stdout).toMatch(/^removed everything up to transaction 6 \(\d+ segments?,/);
      expect(await listBackups(store)).toEqual([(await node.status()).log.id]);
      expect((await prune(lost)).stdout).toMatch(/^There is nothing to prune/);
      // The present log and its backup still lead every node to the end.
      const joined = await scene.ready("joined");
      expect(await joined.digest()).toEqual(await node.digest());
      expect(await done(scene, "log", "backup", "verify")).toContain(" is intact");
    },
  );

  it("names the log's end for a transaction that does not exist yet", { tags: "rest/slow" }, async () => {
    const last = await put(node, 0, 5, "first");
    await backedUp(node, last);
    const { stderr } = await prune(1_000);
    expect(stderr).toMatch(/^CONFLICT: There is no transaction 1000 yet.*\n {2}hint: .* up to 6\.\n$/);
    await done(scene, "checkpoint", "create", "--url", node.url ?? "");
    await done(scene, "checkpoint", "verify", "checkpoints");
    expect((await prune(6)).code).toBe(0);
  });
});

it(
  "a prune waits for the node that writes, and takes over the lease of a dead one, as its hint explains",
  { tags: "rest/slow" },
  async () => {
    hurryClock();
    const { scene, id, older, store, configured, withTarget } = await backupCommands(1, 11, 32);
    await scene.verify(older);
    const lease = path.join(store, backupLease(id));
    await writeFile(lease, JSON.stringify({ node: "other", since: new Date().toISOString() }));
    const { code, stderr } = await configured("prune", "--through", "10");
    expect([code, stderr]).toEqual([
      1,
      expect.stringMatching(
        /^CONFLICT: A node is writing .*\n {2}hint: Nothing was removed\. .* wait ten minutes first\.\n$/,
      ),
    ]);
    expect(await withTarget(runs)).toEqual(["1-10", "11-31"]);
    const before = new Date(Date.now() - 600_000);
    await utimes(lease, before, before);
    expect((await configured("prune", "--through", "10")).code).toBe(0);
    expect(await withTarget(runs)).toEqual(["11-31"]);
  },
);

it("a prune begins once the node that writes has finished", async () => {
  hurryClock();
  const { scene, id, older, store, configured, withTarget } = await backupCommands(1, 11, 32);
  await scene.verify(older);
  const lease = backupLease(id);
  await writeFile(path.join(store, lease), "{}");
  const pruned = configured("prune", "--through", "10");
  const timer = setTimeout(() => void scene.store.remove(lease), 200);
  onTestFinished(() => clearTimeout(timer));
  expect((await pruned).code).toBe(0);
  expect(await withTarget(runs)).toEqual(["11-31"]);
});
