import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { ROOT, runCairn } from "@cairn/test-support/cairn-process";
import { expect, it, onTestFinished } from "vitest";

const RELEASE = path.join(ROOT, "test/fixtures/releases/0.1.0");

async function copyOfRelease(): Promise<string> {
  const folder = await mkdtemp(path.join(tmpdir(), "cairn-upgrade-"));
  onTestFinished(() => rm(folder, { recursive: true }));
  await cp(RELEASE, folder, { recursive: true });
  return folder;
}

it(
  "reads an index and a checkpoint of an older version where they are, and leaves them as they were",
  { tags: "rest/slow" },
  async () => {
    const cwd = await copyOfRelease();
    for (const place of ["data/node-1-index", "store"]) {
      const { code, stdout } = await runCairn(["db", "check", place], { cwd });
      expect([code, stdout]).toEqual([0, expect.stringMatching(/ is intact .* 5[45] documents, /)]);
      const stats = await runCairn(["db", "stats", place], { cwd });
      expect(stats.stdout).toMatch(/^Index .*, version 2$/m);
    }
    const { stdout } = await runCairn(["db", "keys", "data/node-1-index", "--raw"], { cwd });
    // Rows with the documents of versions exist since version 3.
    expect(stdout.split("\n").filter((line) => line.startsWith("w"))).toEqual([]);
  },
);
