import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { cairn, CapturedTerminal } from "@cairn/test-support/nodes/captured-terminal";
import { saveTo } from "@cairn/test-support/stores/saved-checkpoints";
import { servedBucket } from "../support/served-bucket.ts";

async function folderOf(...txIds: number[]): Promise<{ store: string; names: string[] }> {
  const dir = await mkdtemp(path.join(tmpdir(), "cairn-reads-"));
  onTestFinished(() => rm(dir, { recursive: true, force: true }));
  const store = path.join(dir, "store");
  return { store, names: await saveTo(store, txIds) };
}

/** Returns how often each manifest was read, in the order of `names`. */
function counts(names: readonly string[], read: readonly string[]): number[] {
  return names.map((name) => read.filter((one) => one === `${name}.json`).length);
}

it.each([
  ["db", "stats", "s3://bucket"],
  ["checkpoint", "verify", "s3://bucket", "--no-mark"],
  ["checkpoint", "show", "s3://bucket"],
])(
  "cairn %s %s of the newest in a bucket reads the manifest of each skipped checkpoint once",
  async (...argv) => {
    const { store, names } = await folderOf(1, 2, 3);
    const bucket = await servedBucket(store);
    const terminal = new CapturedTerminal({ env: bucket.env });
    await cairn(argv, terminal);
    expect(terminal.stderr.text).not.toContain("STORE_");
    const [first, second, newest = 0] = counts(names, bucket.read);
    expect([first, second]).toEqual([1, 1]);
    // The checkpoint to restore is looked up again by its name, and once more after it is reserved.
    expect(newest).toBeLessThanOrEqual(3);
    expect(newest).toBeGreaterThan(0);
  },
);

it("restoring a checkpoint by name reads no other manifest", async () => {
  const { store, names } = await folderOf(1, 2, 3);
  const bucket = await servedBucket(store);
  const [oldest = ""] = names;
  const target = path.join(path.dirname(store), "restored");
  const argv = ["checkpoint", "restore", `s3://bucket/${oldest}`, "-o", target];
  const { stderr } = await cairn(argv, new CapturedTerminal({ env: bucket.env }));
  expect(stderr).not.toContain("CHECKPOINT_");
  expect(counts(names, bucket.read).slice(1)).toEqual([0, 0]);
});
