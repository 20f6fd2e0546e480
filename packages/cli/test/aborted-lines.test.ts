import { readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { expect, it } from "vitest";
import { DirectorScene, OPEN, QUEUE } from "@cairn/test-support/nodes/director-scene";
import { cairn, CapturedTerminal, type CommandResult } from "@cairn/test-support/nodes/captured-terminal";

/** A queue with one shard for two entries, of which the first one exists. */
async function full(): Promise<DirectorScene> {
  const scene = await DirectorScene.start({ shards: 1, cap: 2 });
  await scene.enqueue(["a"]);
  return scene;
}

function line(name: string, id = `id-${name}`): string {
  return `${JSON.stringify({ ops: [["enqueue", QUEUE, name, OPEN]], id })}\n`;
}

async function run(scene: DirectorScene, stdin: string, ...args: string[]): Promise<CommandResult> {
  const terminal = new CapturedTerminal({ cwd: scene.folder, stdin });
  return await cairn([...args, "--url", scene.node.url ?? ""], terminal);
}

it("load --await reports the transactions that were aborted, and its hint ends well", async () => {
  await using scene = await full();
  const lines = ["b", "c", "d"].map((name) => line(name)).join("");
  const loaded = await run(scene, lines, "load", "-", "--await");
  expect(loaded.code).toBe(1);
  expect(loaded.stdout).toMatch(/^loaded 3 transactions in /);
  const [, id = ""] =
    /^CONFLICT: 2 of 3 transactions were aborted, and changed nothing; the first one is transaction (\d+) in line 2: jobs has no active shard below its cap \(2\)/.exec(
      loaded.stderr,
    ) ?? [];
  expect((await run(scene, "", "tx", "show", id)).stdout).toContain("no active shard below its cap");
  expect(JSON.parse((await run(scene, lines, "load", "-", "--await", "--json")).stdout)).toMatchObject({
    transactions: 3,
    aborted: 2,
  });
  await scene.configure({ shards: 1, cap: 10 });
  // With the same ids, they remain the aborted transactions that they are.
  expect((await run(scene, lines, "load", "-", "--await")).stderr).toContain(
    "2 of 3 transactions were aborted",
  );
  const again = await run(scene, line("c", "again-c") + line("d", "again-d"), "load", "-", "--await");
  expect([again.code, again.stderr]).toEqual([0, ""]);
  expect(await scene.queue()).toMatchObject({ entries: 4 });
});

it("import ndjson reports the entries that a queue refuses, and counts only what was written", async () => {
  await using scene = await full();
  const exported = await run(scene, "", "export");
  await writeFile(path.join(scene.folder, "all.ndjson"), exported.stdout);
  await using other = await DirectorScene.start({ shards: 1, cap: 2 });
  const report = path.join(other.folder, "report.ndjson");
  const source = path.join(scene.folder, "all.ndjson");
  const imported = await run(other, "", "import", "ndjson", source, "--report", report);
  expect(imported.code).toBe(1);
  expect(imported.stdout).toMatch(/^imported 0 documents in [\d.]+ s: 0 written, 0 equal already$/m);
  expect(imported.stderr).toMatch(
    /^IMPORT_INCOMPLETE: 1 of 1 record was not imported; the first one is line 2: The transaction was aborted/,
  );
  expect(JSON.parse(await readFile(report, "utf8"))).toEqual({
    key: "line 2",
    code: "CONFLICT",
    message: "The transaction was aborted: jobs shard 0 is spare.",
  });
});
