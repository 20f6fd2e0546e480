import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { INDEX_VERSION } from "@cairn/engine";
import { ROOT, runCairn } from "@cairn/test-support/cairn-process";
import { expect, it, onTestFinished } from "vitest";

const RELEASE = path.join(ROOT, "test/fixtures/releases/0.1.0");

async function copyOfRelease(): Promise<string> {
  const folder = await mkdtemp(path.join(tmpdir(), "cairn-upgrade-"));
  onTestFinished(() => rm(folder, { recursive: true }));
  await cp(RELEASE, folder, { recursive: true });
  return folder;
}

async function json<T>(cwd: string, ...args: readonly string[]): Promise<T> {
  const { code, stdout, stderr } = await runCairn([...args, "--json"], { cwd });
  expect([code, stderr]).toEqual([0, ""]);
  return JSON.parse(stdout) as T;
}

it("saves what an older version saved as a checkpoint of this one, without its log, and only once", async () => {
  const cwd = await copyOfRelease();
  await rm(path.join(cwd, "data"), { recursive: true });
  const old = await json<{ name: string; txId: number }>(cwd, "checkpoint", "list", "store");
  const before = await json<{ digest: string }>(cwd, "checkpoint", "verify", "store");
  const made = await json<{ name: string; upgraded: string; from: number; to: number }>(
    cwd,
    "checkpoint",
    "upgrade",
    "-f",
    "cairn.json",
  );
  expect(made).toMatchObject({ upgraded: old.name, txId: old.txId, from: 2, to: INDEX_VERSION });
  const after = await json<{ name: string; digest: string }>(cwd, "checkpoint", "verify", "store");
  expect(after).toMatchObject({ name: made.name, digest: before.digest });
  const again = await json<object>(cwd, "checkpoint", "upgrade", "-f", "cairn.json");
  expect(again).toMatchObject({ skipped: "unchanged", because: expect.stringContaining(made.name) });
  const diff = ["checkpoint", "diff", `store/${old.name}`, `store/${made.name}`];
  expect((await runCairn(diff, { cwd })).stdout).toContain("0 added, 0 changed, 0 removed");
});

it("reads an index and a checkpoint of an older version where they are, and leaves them as they were", async () => {
  const cwd = await copyOfRelease();
  for (const place of ["data/node-1-index", "store"]) {
    const { code, stdout } = await runCairn(["db", "check", place], { cwd });
    expect([code, stdout]).toEqual([0, expect.stringMatching(/ is intact .* 5[45] documents, /)]);
  }
  const { stdout } = await runCairn(["db", "keys", "data/node-1-index", "--raw"], { cwd });
  // Rows with the documents of versions exist since version 3.
  expect(stdout.split("\n").filter((line) => line.startsWith("w"))).toEqual([]);
});
