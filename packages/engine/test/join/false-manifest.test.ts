// @module-tag nats
import { readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import type { Manifest } from "@cairn/checkpoint";
import { expect, it, onTestFinished } from "vitest";
import { planTrim } from "../../src/upkeep/plan-trim.ts";
import { sealedManifest } from "@cairn/test-support/stores/sealed-manifest";
import { trimOptions, trimScene, twoCheckpoints } from "@cairn/test-support/nodes/trim-scene";

/** False claims of manifests about archives that are intact. */
const LIES: readonly (readonly [string, (manifest: Manifest) => Partial<Manifest>])[] = [
  ["the number of documents", ({ documents }) => ({ documents: documents + 1 })],
  ["the time of its last transaction", () => ({ txTime: "2026-11-20T06:12:26.123Z" })],
  ["its chains", ({ chains = [] }) => ({ chains: chains.slice(1) })],
  ["the beginning of its log", ({ log }) => ({ log: { ...log, offset: log.offset + 1 } })],
];

it.each(LIES)(
  "a node refuses a checkpoint whose manifest is wrong about %s, and restores an older one",
  async (_what, lie) => {
    const scene = await trimScene("embedded");
    const [older, newer] = await twoCheckpoints(scene);
    const file = path.join(scene.folder, "checkpoints", `${newer}.json`);
    const manifest = JSON.parse(await readFile(file, "utf8")) as Manifest;
    await writeFile(file, sealedManifest({ ...manifest, ...lie(manifest) }));
    const joined = await scene.start("joined");
    await joined.ready;
    const { join, index } = await joined.status();
    expect(join.skipped).toMatchObject([{ name: newer, code: "CHECKPOINT_CORRUPT" }]);
    expect(join.restoredFrom).toMatchObject({ name: older });
    expect(index).toMatchObject({ txId: 31, documents: 30 });
  },
);

it(
  "a node does not trim a log for a checkpoint whose manifest has another offset",
  { tags: "rest/slow" },
  async () => {
    const scene = await trimScene("embedded");
    const [older] = await twoCheckpoints(scene);
    await scene.verify(older);
    const file = path.join(scene.folder, "checkpoints", `${older}.json`);
    const manifest = JSON.parse(await readFile(file, "utf8")) as Manifest;
    const log = { ...manifest.log, offset: manifest.log.offset + 1 };
    await writeFile(file, sealedManifest({ ...manifest, log }));
    const open = await scene.openLog();
    onTestFinished(() => open.close());
    const plan = await planTrim(trimOptions(scene, open));
    expect(plan).toMatchObject({ upTo: 1, checkpoint: null });
    expect(plan.because).toContain("1 with another offset");
  },
);
