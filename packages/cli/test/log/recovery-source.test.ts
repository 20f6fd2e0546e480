// @module-tag nats
import { readdir, rename, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { expect, it, onTestFinished, vi } from "vitest";
import { cairn, CapturedTerminal, type CommandResult } from "@cairn/test-support/nodes/captured-terminal";
import { ClusterScene, put } from "@cairn/test-support/nodes/cluster-scene";
import { BACKED_UP, backedUp } from "@cairn/test-support/nodes/recovery-scene";
import { saveCheckpoint } from "@cairn/test-support/stores/save-checkpoint";

async function opened(): Promise<ClusterScene> {
  const scene = await ClusterScene.open();
  onTestFinished(() => scene.close());
  return scene;
}

/** Runs `log recover` with the index of the node `id` and, unless `store` is another one, with the store of the nodes. */
async function recover(
  scene: ClusterScene,
  id: string,
  args: readonly string[],
  store = "checkpoints",
): Promise<CommandResult> {
  const env = {
    NATS_URL: scene.nats.url,
    CAIRN_NODE_ID: id,
    CAIRN_CHECKPOINT_PATH: path.join(scene.folder, store),
    CAIRN_INDEX_PATH: scene.dbDir(id),
  };
  return await cairn(["log", "recover", ...args], new CapturedTerminal({ cwd: scene.folder, env }));
}

it(
  "a folder means everything in it, and a point before its end says what it leaves behind, as the dry run does",
  { tags: "rest/slow" },
  async () => {
    const scene = await opened();
    const a = await scene.ready("a", { parts: BACKED_UP });
    await put(a, 0, 5, "x");
    const early = await saveCheckpoint(a);
    const last = await put(a, 5, 30, "x");
    await backedUp(a, last);
    const { documents } = (await a.status()).index;
    await scene.stop(a);
    await rm(scene.dbDir("a"), { recursive: true });
    await scene.loseLog();

    const folder = path.join(scene.folder, "checkpoints");
    const one = path.join(folder, early);
    const left = `would lack ${last - 6} transactions that are known: the store shows transactions up to ${last}.`;
    expect(await recover(scene, "cli", ["--from", one], "other")).toMatchObject({
      code: 1,
      stderr: expect.stringContaining(left),
    });
    const planned = await recover(scene, "cli", ["--from", one, "--dry-run", "--json"], "other");
    expect(JSON.parse(planned.stdout)).toMatchObject({
      txId: 6,
      beyond: last - 6,
      refusal: { code: "CONFLICT", message: expect.stringContaining(left) },
    });
    const all = await recover(scene, "cli", ["--from", folder, "--dry-run", "--json"], "other");
    expect(JSON.parse(all.stdout)).toMatchObject({ txId: last, beyond: 0, refusal: null });
    const done = await recover(scene, "cli", ["--from", folder], "other");
    expect(done).toMatchObject({
      code: 0,
      stdout: expect.stringContaining(`continues after transaction ${last} `),
    });
    // The checkpoint at the seam is in the nodes' own store, which had none: it is all that a node needs.
    await rm(folder, { recursive: true });
    const saved = await readdir(path.join(scene.folder, "other"));
    expect(saved).toContainEqual(
      expect.stringMatching(new RegExp(`^checkpoint-${last}-.*\\.verified\\.json$`)),
    );
    await rename(path.join(scene.folder, "other"), folder);
    const b = await scene.ready("b");
    expect((await b.status()).join.restoredFrom).toMatchObject({ txId: last });
    expect((await b.status()).index).toMatchObject({ txId: last + 1, documents });
  },
);

it("an index in another folder is continued from by its path", { tags: "rest/slow" }, async () => {
  const scene = await opened();
  const a = await scene.ready("a");
  const last = await put(a, 0, 5, "x");
  await scene.stop(a);
  await scene.loseLog();
  const done = await recover(scene, "cli", ["--from", scene.dbDir("a")]);
  expect(done).toMatchObject({
    code: 0,
    stdout: expect.stringContaining(`continues after transaction ${last} `),
  });
  const b = await scene.ready("b");
  expect(await b.get({ bucket: "things", namespace: "default", name: "k4" })).toBeDefined();
});

it(
  "a node that is further than everything that the command reaches is named, and asked about",
  { tags: "rest/slow" },
  async () => {
    const scene = await opened();
    const [a, b] = [await scene.ready("a"), await scene.ready("b")];
    const early = await put(a, 0, 5, "x");
    await b.await(early);
    await scene.stop(b);
    const last = await put(a, 5, 9, "x");
    await scene.loseLog();
    await vi.waitFor(() => expect(a.phase).toBe("failed"), { timeout: 30_000 });
    const named = `would lack ${last - early} transactions that are known: the index of node a (failed) holds transactions up to ${last}.`;
    const refused = await recover(scene, "b", []);
    expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining(named) });
    expect(refused.stderr).toMatch(/run the command on its machine.*add --yes/s);
    const left = await recover(scene, "b", ["--dry-run", "--yes"]);
    expect(left).toMatchObject({ code: 0, stderr: "" });
    expect(left.stdout).toContain(`${last - early} transactions after it are known but not in the new log`);
    // The hint is followed.
    const done = await recover(scene, "a", []);
    expect(done).toMatchObject({ code: 0, stderr: "" });
    await vi.waitFor(() => expect(a.phase).toBe("ready"), { timeout: 30_000 });
    const again = await scene.ready("b");
    expect((await again.status()).join).toMatchObject({ orphans: 0, restoredFrom: { txId: last } });
    expect((await a.status()).join).toMatchObject({ orphans: 0, movedAside: [] });
  },
);

it("a damaged index is not continued from, and what it held is not left behind in silence", async () => {
  const scene = await opened();
  const a = await scene.ready("a");
  const early = await put(a, 0, 5, "x");
  await saveCheckpoint(a);
  await put(a, 5, 9, "x");
  await scene.stop(a);
  const live = path.join(scene.dbDir("a"), "live");
  for (const name of await readdir(live))
    if (name.startsWith("MANIFEST")) await writeFile(path.join(live, name), "damaged");
  await scene.loseLog();
  const refused = await recover(scene, "a", []);
  expect(refused).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(
      /it is unknown what the index in \S+a-index\S* holds \(INDEX_CORRUPT: .*--yes/s,
    ),
  });
  const done = await recover(scene, "a", ["--yes"]);
  expect(done).toMatchObject({
    code: 0,
    stdout: expect.stringContaining(`continues after transaction ${early} `),
  });
});
