import path from "node:path";
import { Writable } from "node:stream";
import { listCheckpoints } from "@cairn/checkpoint";
import { type KvProvider, type KvStore, levelProvider } from "@cairn/kv";
import { pino } from "pino";
import { expect, it, vi } from "vitest";
import { verifyCheckpoint } from "../../src/checkpoints/verify-checkpoint.ts";
import { type CairnNode, openEmbeddedTxLog } from "../../src/index.ts";
import { type ObservedScene, observedScene, put } from "@cairn/test-support/nodes/observed-node";
import { saveCheckpoint } from "@cairn/test-support/stores/save-checkpoint";

const CORRUPT = { code: "INDEX_CORRUPT", message: expect.stringContaining("outcome of transaction") };
const lost = { bucket: "things", namespace: "default", name: "lost" };

/** A store of rows that says of a batch that it stored it, and did not, while `faults.loses` is true. */
function forgetful(faults: { loses: boolean }): KvProvider {
  const provider = levelProvider();
  const forgetting = (kv: KvStore): KvStore =>
    new Proxy(kv, {
      get(of, name) {
        if (name === "batch" && faults.loses) return () => Promise.resolve();
        const value: unknown = Reflect.get(of, name);
        return typeof value === "function" ? (value.bind(of) as unknown) : value;
      },
    });
  return { ...provider, open: async (...given) => forgetting(await provider.open(...given)) };
}

/** Starts node a, whose index lacks a transaction, and which has saved a checkpoint of it. Returns its name. */
async function wrongNode(scene: ObservedScene): Promise<{ a: CairnNode; name: string }> {
  const faults = { loses: false };
  const a = await scene.start("a", { kvProvider: forgetful(faults) });
  await a.ready;
  await put(a, "one");
  faults.loses = true;
  await put(a, "lost");
  faults.loses = false;
  await put(a, "two");
  expect(await a.get(lost)).toBeUndefined();
  return { a, name: await saveCheckpoint(a) };
}

async function verifyElsewhere({ store, folder }: ObservedScene, name: string): Promise<void> {
  const stagingDir = path.join(folder, "elsewhere");
  const verifying = verifyCheckpoint({ store, name, provider: levelProvider(), stagingDir, node: "c" });
  await expect(verifying).rejects.toMatchObject({ ...CORRUPT, hint: expect.stringContaining("a saved") });
}

async function healed(node: CairnNode): Promise<void> {
  await vi.waitFor(async () => expect(await node.get(lost)).toMatchObject({ json: '"lost"' }), 30_000);
  expect((await node.status()).join.movedAside).toMatchObject([{ code: "INDEX_CORRUPT" }]);
}

async function names({ store }: ObservedScene, which: { readonly damaged: boolean }): Promise<string[]> {
  const { checkpoints } = await listCheckpoints(store);
  return checkpoints.filter(({ damaged }) => damaged === which.damaged).map(({ name }) => name);
}

it(
  "a node that finds a transaction missing in a checkpoint looks for it in its own index, and builds that anew",
  { tags: "rest/slow" },
  async () => {
    const scene = await observedScene();
    const { a, name } = await wrongNode(scene);
    await expect(a.verifyCheckpoint(name)).rejects.toMatchObject(CORRUPT);
    await healed(a);
    await a.ready;
    const next = await saveCheckpoint(a);
    expect(await a.verifyCheckpoint(next)).toMatchObject({ name: next });
    expect(await names(scene, { damaged: true })).toEqual([name]);
  },
);

it(
  "a node does not save a wrong index again once another node has marked its checkpoint",
  { tags: "rest/slow" },
  async () => {
    const scene = await observedScene();
    const { a, name } = await wrongNode(scene);
    await verifyElsewhere(scene, name);
    await put(a, "three");
    await expect(a.checkpoint().done).rejects.toMatchObject(CORRUPT);
    expect(await names(scene, { damaged: false })).toEqual([]);
    await healed(a);
    await a.ready;
    await saveCheckpoint(a);
    await a.close();
    const b = await scene.start("b");
    await b.ready;
    expect(await b.get(lost)).toMatchObject({ json: '"lost"' });
  },
);

it("a node joins from a complete log, and not from a checkpoint that is marked as damaged", async () => {
  const scene = await observedScene();
  const { a, name } = await wrongNode(scene);
  await verifyElsewhere(scene, name);
  await a.close();
  const b = await scene.start("b");
  await b.ready;
  expect((await b.status()).join).toMatchObject({ restoredFrom: null, skipped: [{ name }] });
  expect(await b.get(lost)).toMatchObject({ json: '"lost"' });
});

it(
  "without a complete log or another checkpoint, a wrong index is still served, but not saved, and a join warns",
  { tags: "rest/slow" },
  async () => {
    const scene = await observedScene();
    const { a, name } = await wrongNode(scene);
    await a.close();
    const log = await openEmbeddedTxLog({ path: path.join(scene.folder, "log") });
    const { last } = await log.bounds();
    await log.trim?.(last - 1);
    await log.close();
    const again = await scene.start("a");
    await again.ready;
    await expect(again.verifyCheckpoint(name)).rejects.toMatchObject(CORRUPT);
    await put(again, "three");
    await expect(again.checkpoint().done).rejects.toMatchObject(CORRUPT);
    expect(again.phase).toBe("ready");
    expect(await names(scene, { damaged: false })).toEqual([]);
    await again.close();
    const lines: string[] = [];
    const write = (chunk: Buffer, _: string, done: () => void): void => {
      lines.push(chunk.toString());
      done();
    };
    const b = await scene.start("b", { logger: pino(new Writable({ write })) });
    await b.ready;
    expect((await b.status()).join).toMatchObject({ restoredFrom: { name } });
    expect(lines.join("")).toContain(`${name} in ${scene.store.location} is marked as damaged, but`);
  },
);
