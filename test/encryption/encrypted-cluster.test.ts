// @module-tag nats
// @module-tag rest/slow
import { readdir, readFile, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { newIdentity } from "@cairn/checkpoint/testing";
import { expect, it, onTestFinished } from "vitest";
import { HintScene, type NodeStart } from "../hints/scene/hint-scene.ts";

const FOLDER_STORE = "cairn.checkpoint/->filesystem-checkpoint-store";
const SECRET = "the price of the sealed bid";

async function opened(): Promise<HintScene> {
  const scene = await HintScene.open();
  onTestFinished(() => scene.close());
  return scene;
}

/** Returns the settings of a node that backs up its log. */
function writing(encryption?: object): NodeStart {
  const checkpointer = { ...(encryption && { encryption }), "log-backup": { every: "PT0.3S" } };
  return { settings: { "cairn/index-store": { "kv-store": { checkpointer } } } };
}

function encrypting(scene: HintScene): NodeStart {
  return writing({ "key-file": scene.path("cairn.key") });
}

/** Returns the settings of a node that only reads the backup and the checkpoints. */
function reading(scene: HintScene): NodeStart {
  const store = { "cairn/module": FOLDER_STORE, path: scene.path("checkpoints") };
  const encryption = { "key-file": scene.path("cairn.key") };
  const checkpointer = { store: null, "approx-frequency": null, "restore-from": [store], encryption };
  return {
    settings: {
      "cairn/tx-log": { "cairn/module": "cairn.log-backup/->tx-log", store, encryption, every: "PT0.3S" },
      "cairn/index-store": { "kv-store": { checkpointer } },
    },
    env: { NATS_URL: "", CAIRN_CHECKPOINT_PATH: "" },
  };
}

async function writeKeys(scene: HintScene, ...identities: readonly string[]): Promise<void> {
  await writeFile(scene.path("cairn.key"), `${identities.join("\n")}\n`);
}

/** Waits until the backup contains every transaction of a node. */
async function backedUp(scene: HintScene, id: string): Promise<void> {
  await scene.waitForStatus(id, ({ index, logBackup }) => logBackup?.covered?.at(-1)?.last === index?.txId);
}

async function storeFiles(scene: HintScene): Promise<string[]> {
  const entries = await readdir(scene.path("checkpoints"), { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => path.join(entry.parentPath, entry.name));
}

async function putSecrets(scene: HintScene, id: string, from: number, to: number): Promise<void> {
  for (let n = from; n <= to; n += 1)
    expect(await scene.put(id, `bid${n}`, { text: `${SECRET} ${n}` })).toBe(200);
}

it("a cluster saves, joins, reads its backup and restores while nothing in its store can be read", async () => {
  const scene = await opened();
  await writeKeys(scene, newIdentity());
  await scene.ready("a", encrypting(scene));
  await putSecrets(scene, "a", 1, 20);
  expect(await scene.run("checkpoint create")).toMatchObject({ code: 0 });
  await putSecrets(scene, "a", 21, 30);
  await backedUp(scene, "a");
  await scene.ready("b", encrypting(scene));
  await scene.ready("r", reading(scene));
  const expected = await scene.node("a").digest();
  for (const id of ["b", "r"]) {
    await scene.waitForStatus(id, ({ index }) => index?.txId === expected.txId);
    expect(await scene.node(id).digest()).toEqual(expected);
  }
  expect((await scene.node("b").status()).join?.restoredFrom?.name).toMatch(/^checkpoint-/);

  const files = await storeFiles(scene);
  expect(files.filter((file) => file.endsWith(".segment"))).not.toEqual([]);
  for (const file of files) {
    const stored = await readFile(file, "latin1");
    for (const word of ["sealed bid", "bid1", "things", '"ops"'])
      expect(stored, `${word} in ${file}`).not.toContain(word);
  }
  for (const command of [
    "checkpoint verify ./checkpoints",
    "checkpoint restore ./checkpoints -o ./newest",
    "checkpoint restore ./checkpoints --at-tx 27 -o ./past",
    "log backup verify ./checkpoints",
    "db get ./checkpoints things bid3",
  ]) {
    const withKey = await scene.run(`${command} --key-file cairn.key`);
    expect(withKey, `${command}: ${withKey.stderr}`).toMatchObject({ code: 0 });
    const without = await scene.run(command.replace("-o ./", "-o ./other-"));
    expect(without.code, `${command}: ${without.stdout}`).not.toBe(0);
    expect(without.stdout + without.stderr).toContain("KEY_MISSING");
  }
}, 120_000);

it("a cluster keeps saving and joining while its key is rotated", async () => {
  const scene = await opened();
  const [old, next] = [newIdentity(), newIdentity()];
  await writeKeys(scene, old);
  for (const id of ["a", "b"]) await scene.ready(id, encrypting(scene));
  await putSecrets(scene, "a", 1, 3);
  await scene.run("checkpoint create");
  await backedUp(scene, "a");
  await writeKeys(scene, old, next);
  let n = 4;
  for (const id of ["a", "b"]) {
    await scene.stop(id);
    await scene.ready(id, encrypting(scene));
    // As docs/encryption.md says of a cluster in which nothing is written.
    expect((await scene.run("checkpoint create", { on: id })).stdout).toContain("skipped");
    await scene.run("tx put notes default/rotated 1", { on: id });
    expect((await scene.run("checkpoint create", { on: id })).stdout).toContain("checkpoint-");
    for (const on of ["a", "b"]) {
      await putSecrets(scene, on, n, n);
      n += 1;
      expect(await scene.run("checkpoint create", { on })).toMatchObject({ code: 0 });
    }
  }
  await writeKeys(scene, next);
  for (const id of ["a", "b"]) {
    await scene.stop(id);
    await scene.ready(id, encrypting(scene));
  }
  await scene.ready("c", encrypting(scene));
  await putSecrets(scene, "c", n, n);
  const { txId } = await scene.node("c").digest();
  for (const id of ["a", "b"]) await scene.waitForStatus(id, ({ index }) => index?.txId === txId);
  expect(await scene.node("a").digest()).toEqual(await scene.node("c").digest());
  expect(await scene.run("checkpoint create", { on: "c" })).toMatchObject({ code: 0 });
}, 120_000);

it.each(["empty", "plain"] as const)(
  "a first segment that is %s and not needed keeps neither a reader nor a recovery from what is beyond it",
  async (kind) => {
    const scene = await opened();
    await writeKeys(scene, newIdentity());
    await scene.ready("a", kind === "plain" ? writing() : encrypting(scene));
    await backedUp(scene, "a");
    await putSecrets(scene, "a", 1, 3);
    await backedUp(scene, "a");
    const [first = "", ...old] = (await storeFiles(scene))
      .filter((file) => file.endsWith(".segment"))
      .toSorted();
    await scene.stop("a");
    await scene.ready("a", encrypting(scene));
    await putSecrets(scene, "a", 4, 6);
    expect(await scene.run("checkpoint create")).toMatchObject({ code: 0 });
    await putSecrets(scene, "a", 7, 9);
    await backedUp(scene, "a");
    const expected = await scene.node("a").digest();
    await scene.stop("a");
    if (kind === "empty") for (const file of old) await writeFile(file, "");
    // As if the log and its backup had been trimmed: the segment with the birth record is needed.
    for (const file of [first, path.join(path.dirname(first), "newest.json")]) await rm(file);
    await scene.ready("r", reading(scene));
    await scene.waitForStatus("r", ({ index }) => index?.txId === expected.txId);
    expect(await scene.node("r").digest()).toEqual(expected);
    await scene.operate(async (stream) => await stream.deleteStream());
    const settings = JSON.stringify(encrypting(scene).settings);
    const recovered = await scene.run(`log recover -j '${settings}' --dry-run`, { on: "without-index" });
    expect(recovered.stdout + recovered.stderr).toContain(`continues after transaction ${expected.txId}`);
  },
  120_000,
);
