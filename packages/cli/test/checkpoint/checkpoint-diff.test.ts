// @module-tag nats
import { readdir, readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { memoryProvider } from "@cairn/kv";
import fc from "fast-check";
import { expect, it } from "vitest";
import { diffIndexes } from "@cairn/engine";
import { documentRowKey } from "@cairn/engine/src/index/rows/row-keys";
import { encodeVersion } from "@cairn/engine/src/index/rows/version-values";
import { type TrimScene, trimScene, twoCheckpoints } from "@cairn/test-support/nodes/trim-scene";
import { cairn, CapturedTerminal, type CommandResult } from "@cairn/test-support/nodes/captured-terminal";
import { saveCheckpoint } from "@cairn/test-support/stores/save-checkpoint";

function diff({ folder }: TrimScene, ...argv: string[]): Promise<CommandResult> {
  return cairn(["checkpoint", "diff", ...argv], new CapturedTerminal({ cwd: folder }));
}

/**
 * Saves two checkpoints, between which one document was added, one changed and one removed. Eight others are the same
 * in both.
 */
async function changedScene(): Promise<{ scene: TrimScene; older: string; newer: string }> {
  const scene = await trimScene("embedded");
  const node = await scene.start("n");
  await node.ready;
  for (let n = 0; n < 10; n += 1) {
    const { txId } = await node.submit({ ops: [["put", "things", `k${n}`, n]] });
    await node.await(txId);
  }
  await saveCheckpoint(node);
  const { txId } = await node.submit({
    ops: [
      ["put", "pods", "team/w\u001bb", { cpu: 1 }],
      ["put", "things", "k3", "other"],
      ["delete", "things", "k7"],
    ],
  });
  await node.await(txId);
  await saveCheckpoint(node);
  await node.close();
  const [newer = "", older = ""] = await scene.checkpoints();
  return { scene, older, newer };
}

it("checkpoint diff prints the documents that were added, changed and removed between two checkpoints, and leaves nothing behind", async () => {
  const { scene, older, newer } = await changedScene();
  const before = await readdir(scene.folder);
  const { code, stdout } = await diff(scene, `checkpoints/${older}`, "checkpoints", "--staging", ".");
  expect([code, stdout.split("\n")]).toEqual([
    0,
    [
      "+ pods team/w\\u001bb (revision 12)",
      "~ things default/k3 (revision 5 -> 12)",
      "- things default/k7 (revision 9)",
      `from ${older} (transaction 11) to ${newer} (transaction 12): 1 added, 1 changed, 1 removed, 8 equal`,
      "",
    ],
  ]);
  expect(await readdir(scene.folder)).toEqual(before);
  expect((await diff(scene, "checkpoints", "checkpoints")).stdout).toContain("0 removed, 10 equal");
});

it("checkpoint diff prints each difference as a line of JSON, and the counts as the last line", async () => {
  const { scene, older } = await changedScene();
  const { stdout } = await diff(scene, `checkpoints/${older}`, "checkpoints", "--json", "--bucket", "things");
  expect(
    stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as object),
  ).toMatchObject([
    { bucket: "things", namespace: "default", name: "k3", change: "changed", before: 5, after: 12 },
    { name: "k7", change: "removed", before: 9, after: null },
    { before: { name: older, txId: 11 }, added: 0, changed: 1, removed: 1, equal: 8, byContent: false },
  ]);
});

it("checkpoint diff compares only documents if the logs differ", async () => {
  const [one, other] = [await trimScene("embedded"), await trimScene("embedded")];
  await twoCheckpoints(one);
  const [older] = await twoCheckpoints(other);
  const theirs = path.join(other.folder, "checkpoints", older);
  const { stdout, stderr } = await diff(one, "checkpoints", theirs);
  expect(stderr).toContain("different logs");
  expect(stdout).toContain("0 added, 0 changed, 10 removed, 10 equal");
});

it("checkpoint diff rejects a damaged checkpoint instead of comparing its intact parts", async () => {
  const { scene, older, newer } = await changedScene();
  const archive = path.join(scene.folder, "checkpoints", `${newer}.tar`);
  const bytes = await readFile(archive);
  bytes[600] = (bytes[600] ?? 0) ^ 1;
  await writeFile(archive, bytes);
  const { code, stdout, stderr } = await diff(scene, `checkpoints/${older}`, `checkpoints/${newer}`);
  expect([code, stdout, stderr]).toEqual([1, "", expect.stringMatching(/^CHECKPOINT_CORRUPT: /)]);
});

it("checkpoint diff finds exactly the differences of two maps, whatever their content", async () => {
  const documents = fc.dictionary(fc.string({ minLength: 1, maxLength: 3 }), fc.integer({ min: 0, max: 2 }), {
    maxKeys: 12,
  });
  await fc.assert(
    fc.asyncProperty(documents, documents, async (left, right) => {
      const [before, after] = await Promise.all([left, right].map(indexOf));
      if (before === undefined || after === undefined) throw new Error("no index");
      const found: Record<string, string> = {};
      for await (const { key, change } of diffIndexes(before, after)) found[key.name] = change;
      const expected: Record<string, string> = {};
      for (const name of new Set([...Object.keys(left), ...Object.keys(right)])) {
        const [was, is] = [left[name], right[name]];
        if (was !== is)
          expected[name] = was === undefined ? "added" : is === undefined ? "removed" : "changed";
      }
      await Promise.all([before.close(), after.close()]);
      expect(found).toEqual(expected);
    }),
    { numRuns: 60 },
  );
});

async function indexOf(documents: Record<string, number>) {
  const kv = await memoryProvider().open(path.join(tmpdir(), "nowhere-cairn-diff"));
  const rows = Object.entries(documents).map(([name, value]) => {
    const key = documentRowKey("things", `default/${name}`);
    return { type: "put" as const, key, value: encodeVersion(key, value, 0, Buffer.from(String(value))) };
  });
  await kv.batch(rows);
  return kv;
}
