// @module-tag nats
import { open, readdir, readFile, rename, rm, truncate, writeFile } from "node:fs/promises";
import path from "node:path";
import { type CheckpointStore, encryptedStore, filesystemStore } from "@cairn/checkpoint";
import { encryptionWith, newIdentity } from "@cairn/checkpoint/testing";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import type { CairnNode } from "../../src/node/node.ts";
import { openNatsTxLog } from "@cairn/log-nats/src/nats-tx-log";
import { BACKED_UP, backedUp, done, run } from "@cairn/test-support/nodes/recovery-scene";
import { cairn, CapturedTerminal } from "@cairn/test-support/nodes/captured-terminal";
import { listBackup } from "../../src/backup/segments/segment-name.ts";
import { ClusterScene, put } from "@cairn/test-support/nodes/cluster-scene";
import { saveCheckpoint } from "@cairn/test-support/stores/save-checkpoint";

let scene: ClusterScene;
beforeEach(async () => {
  scene = await ClusterScene.open();
});
afterEach(() => scene.close());

const key = (name: string) => ({ bucket: "things", namespace: "default", name });
const folder = (): string => path.join(scene.folder, "checkpoints");
const plain = (): CheckpointStore => filesystemStore({ path: folder() });

async function encrypted(): Promise<CheckpointStore> {
  return encryptedStore(plain(), await encryptionWith(scene.folder, [newIdentity()]));
}

/** Saves a checkpoint of a log of six transactions, which is then lost. Returns the checkpoint's name. */
async function lostLog(store: CheckpointStore): Promise<string> {
  const a = await scene.ready("a", { store });
  await put(a, 0, 5, "kept");
  const name = await saveCheckpoint(a);
  await scene.stop(a);
  await scene.loseLog();
  // The index would prove as well that there was a log.
  await rm(scene.dbDir("a"), { recursive: true });
  return name;
}

async function failureOf(node: CairnNode) {
  await vi.waitFor(() => expect(node.phase).not.toBe("restoring"), { timeout: 30_000 });
  const { phase, failure } = await node.status();
  expect(phase).toBe("failed");
  return failure;
}

it(
  "an incomplete checkpoint proves that there was a log, which is recovered once it is complete",
  { tags: "rest/slow" },
  async () => {
    const name = await lostLog(plain());
    const archive = path.join(folder(), `${name}.tar`);
    const content = await readFile(archive);
    await truncate(archive, 512);
    const b = await scene.start("b");
    const failure = await failureOf(b);
    expect(failure).toMatchObject({
      code: "LOG_DIFFERENT",
      message: expect.stringMatching(`the manifest of checkpoint ${name} in \\S+ shows transactions up to 6`),
      hint: expect.stringMatching(
        /make checkpoint-6-\S+ usable \(CHECKPOINT_INCOMPLETE: .*cairn log recover/,
      ),
    });
    expect(await run(scene, "log", "create")).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^CONFLICT/),
    });
    expect(await run(scene, "log", "recover")).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^CHECKPOINT_NOT_FOUND: .*CHECKPOINT_INCOMPLETE/m),
    });
    expect((await run(scene, "log", "status")).stderr).toContain(`make ${name} usable`);

    await writeFile(archive, content);
    await done(scene, "log", "recover");
    await vi.waitFor(() => expect(b.phase).toBe("ready"), { timeout: 30_000 });
    expect(await b.get(key("k4"))).toMatchObject({ json: '"kept"' });
  },
);

it(
  "an empty log is begun next to an incomplete checkpoint only on purpose",
  { tags: "rest/slow" },
  async () => {
    const name = await lostLog(plain());
    await truncate(path.join(folder(), `${name}.tar`), 512);
    const b = await scene.start("b");
    const [, command = ""] =
      /To begin an empty log instead, run (?:cd \S+ && )?(?:[A-Z_]+=\S+ )*cairn (log create --empty)/.exec(
        (await failureOf(b))?.hint ?? "",
      ) ?? [];
    await done(scene, ...command.split(" "));
    await vi.waitFor(() => expect(b.phase).toBe("ready"), { timeout: 30_000 });
    expect(await b.get(key("k4"))).toBeUndefined();
  },
);

it(
  "a log backup without its beginning proves that there was a log, and is named with the reason",
  { tags: "rest/slow" },
  async () => {
    const a = await scene.ready("a", { parts: BACKED_UP });
    await backedUp(a, await put(a, 0, 3, "kept"));
    await backedUp(a, await put(a, 3, 6, "kept"));
    const id = (await a.status()).log.id ?? "";
    await scene.stop(a);
    await scene.loseLog();
    await rm(scene.dbDir("a"), { recursive: true });
    const { segments } = await listBackup(plain(), id);
    const [first = ""] = segments.toSorted((x, y) => x.first - y.first).map(({ name }) => name);
    await rm(path.join(folder(), first));
    expect(await failureOf(await scene.start("b"))).toMatchObject({
      code: "LOG_DIFFERENT",
      message: expect.stringMatching(/but the log backup in \S+ holds transactions up to 7\.$/),
      hint: expect.stringMatching(
        /make the log backup usable \(CHECKPOINT_NOT_FOUND: .*cairn log backup status.*\), and run cairn log recover/,
      ),
    });
  },
);

it(
  "an incomplete checkpoint that reaches further than a usable one is named",
  { tags: "rest/slow" },
  async () => {
    await lostLog(plain());
    await done(scene, "log", "recover");
    const a = await scene.ready("a");
    await saveCheckpoint(a);
    await put(a, 5, 7, "kept");
    const name = await saveCheckpoint(a);
    await scene.stop(a);
    await scene.loseLog();
    await truncate(path.join(folder(), `${name}.tar`), 512);
    // Otherwise the index of that node would be the one to continue from.
    await rm(path.join(scene.folder, "a-index"), { recursive: true });
    const hint = (await failureOf(await scene.start("b")))?.hint ?? "";
    expect(hint).toContain("run cairn log recover, which begins one that continues after transaction 7;");
    expect(hint).toContain(
      `Checkpoint ${name} ends with transaction 9, but cannot be used (CHECKPOINT_INCOMPLETE`,
    );
  },
);

it(
  "a damaged checkpoint of a store that is only read is not named as the one with which a recovered log begins",
  { tags: "rest/slow" },
  async () => {
    const a = await scene.ready("a", { store: plain(), parts: BACKED_UP });
    await put(a, 0, 5, "kept");
    const name = await saveCheckpoint(a);
    await put(a, 5, 7, "kept");
    await backedUp(a, 8);
    await scene.stop(a);
    await scene.loseLog();
    const archive = await open(path.join(folder(), `${name}.tar`), "r+");
    await archive.write(Buffer.alloc(16, 0xa5), 0, 16, 4_096);
    await archive.close();
    const store = { "cairn/module": "cairn.checkpoint/->filesystem-checkpoint-store", path: folder() };
    const checkpointer = { "cairn/module": "cairn.checkpoint/->checkpointer", "restore-from": [store] };
    const reader = {
      "cairn/index-store": { "kv-store": { "cairn/module": "cairn.leveldb/->kv-store", checkpointer } },
    };
    const { code, stdout, stderr } = await cairn(
      ["log", "recover", "--json", "-j", JSON.stringify(reader)],
      new CapturedTerminal({ cwd: scene.folder, env: { NATS_URL: scene.nats.url } }),
    );
    expect({ code, stderr }).toEqual({ code: 0, stderr: expect.stringContaining(`${name} cannot be used`) });
    expect(JSON.parse(stdout)).toMatchObject({
      offset: 8,
      checkpoint: expect.stringMatching(/^checkpoint-8-/) as string,
      store: expect.stringContaining("cairn-data/checkpoints") as string,
    });
    expect((await readdir(folder())).filter((file) => file.endsWith(".damaged.json"))).toEqual([]);
  },
);

it(
  "a node that begins a log of another name next to an incomplete checkpoint warns",
  { tags: "rest/slow" },
  async () => {
    const name = await lostLog(plain());
    await truncate(path.join(folder(), `${name}.tar`), 512);
    const b = await scene.ready("b", {
      parts: {
        openTxLog: async ({ signal }) =>
          await openNatsTxLog({ servers: [scene.nats.url], stream: "others", signal }),
      },
    });
    expect((await b.status()).log.warnings).toMatchObject([
      { code: "LOG_DIFFERENT", message: expect.stringContaining(`${name}, transaction 6 of "cairn" (`) },
    ]);
  },
);

it(
  "without their keys, encrypted checkpoints may be of a lost log: no log is begun next to them",
  { tags: "rest/slow" },
  async () => {
    const store = await encrypted();
    const name = await lostLog(store);
    const before = await readdir(folder());
    const b = await scene.start("b");
    expect(await failureOf(b)).toMatchObject({
      code: "KEY_MISSING",
      retries: true,
      message: expect.stringContaining(`${name}.json is encrypted`),
      hint: expect.stringMatching(/Set encryption of the checkpointer.*move its files out of the store/),
    });
    for (const command of ["create", "recover"]) {
      expect(await run(scene, "log", command)).toMatchObject({
        stderr: expect.stringMatching(/^KEY_MISSING: /),
      });
    }
    expect((await b.status()).log.exists).toBe(false);
    expect(await readdir(folder())).toEqual(before);
    const c = await scene.start("c", { store });
    expect(await failureOf(c)).toMatchObject({
      code: "LOG_DIFFERENT",
      message: expect.stringContaining(`checkpoint ${name} in `),
      hint: expect.stringContaining(
        "run cairn log recover, which begins one that continues after transaction 6;",
      ),
    });
    await scene.stop(c);

    for (const file of before) await rename(path.join(folder(), file), path.join(scene.folder, file));
    await vi.waitFor(() => expect(b.phase).toBe("ready"), { timeout: 30_000 });
  },
);

it(
  "a checkpoint that is refused because it is not encrypted proves that there was a log",
  { tags: "rest/slow" },
  async () => {
    const name = await lostLog(plain());
    expect(await failureOf(await scene.start("b", { store: await encrypted() }))).toMatchObject({
      code: "LOG_DIFFERENT",
      hint: expect.stringMatching(/make checkpoint-6-\S+ usable \(PLAIN_REFUSED: .*"accept-plain\?": true/),
    });
    const manifest = path.join(folder(), `${name}.json`);
    await writeFile(manifest, (await readFile(manifest, "utf8")).replace('"name"', '"eman"'));
    await scene.ready("c", { store: await encrypted() });
  },
);

it("a manifest that does not show its log proves nothing", { tags: "rest/slow" }, async () => {
  const name = await lostLog(plain());
  await truncate(path.join(folder(), `${name}.json`), 100);
  await writeFile(path.join(folder(), "checkpoint-9.json"), "{}");
  const b = await scene.ready("b");
  expect(await put(b, 0, 1, "new")).toBe(2);
});
