import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { openEmbeddedTxLog } from "@cairn/engine";
import { runNode } from "@cairn/node";
import { quietSystem } from "@cairn/test-support/nodes/quiet-system";
import { submit } from "@cairn/test-support/nodes/watch-reader";
import { cairn, CapturedTerminal, type CommandResult } from "@cairn/test-support/nodes/captured-terminal";

/** Starts a node, and returns a function that runs commands on it. */
async function startedNode() {
  const folder = await mkdtemp(join(tmpdir(), "cairn-buckets-"));
  onTestFinished(() => rm(folder, { recursive: true }));
  const openTxLog = async () => await openEmbeddedTxLog({ path: join(folder, "node-1-log") });
  const http = { host: "127.0.0.1", port: 0, maxBody: 1_048_576 };
  const node = await runNode({ ...quietSystem({ folder, nodeId: "node-1", openTxLog }), http });
  onTestFinished(() => node.close());
  await node.ready;
  const env = { CAIRN_URL: node.url };
  const run = (argv: readonly string[], options: { stdin?: string; isTTY?: boolean } = {}) =>
    cairn(argv, new CapturedTerminal({ env, ...options }));
  return { node, run };
}

function jsonLines({ stdout }: CommandResult): unknown[] {
  return stdout
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as unknown);
}

test("buckets lists the buckets of a node with their documents and indexed fields", async () => {
  const { node, run } = await startedNode();
  await run(["policy", "apply", "-"], { stdin: JSON.stringify({ indexes: { jobs: ["state"] } }) });
  await submit(
    node,
    ["put", "jobs", "a", { state: "done" }],
    ["put", "jobs", "b", { state: "done" }],
    ["put", "jobs", "c", { state: "open" }],
    ["put", "pods", "a", 1],
  );
  expect(await run(["buckets"])).toMatchObject({
    code: 0,
    stdout:
      "BUCKET  DOCUMENTS  INDEXED FIELDS\njobs            3  state (2 values)\npods            1  none\n",
  });
  expect(jsonLines(await run(["buckets", "--json"]))).toEqual([
    { name: "jobs", documents: 3, fields: { state: { counts: { done: 2, open: 1 }, more: false } } },
    { name: "pods", documents: 1, fields: {} },
  ]);
});
