import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { runCli } from "../../src/run-cli.ts";
import { startNode } from "@cairn/node";
import { CapturedTerminal } from "@cairn/test-support/nodes/captured-terminal";
import { saveCheckpoint } from "@cairn/test-support/stores/save-checkpoint";

let folder = "";
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "cairn-cli-log-"));
});
afterEach(async () => await rm(folder, { recursive: true, force: true }));

async function run(...args: string[]) {
  const terminal = new CapturedTerminal({ cwd: folder, env: { CAIRN_NODE_ID: "n" } });
  const code = await runCli(["log", ...args], terminal);
  return { code, stdout: terminal.stdout.text, stderr: terminal.stderr.text };
}

async function startAgain(index: string) {
  const node = await startNode(
    { "cairn/node": { id: "n" }, "cairn/http-server": null },
    { env: { CAIRN_INDEX_PATH: path.join(folder, index) }, cwd: folder },
  );
  await node.ready;
  return node;
}

describe("cairn log", () => {
  it("status reports that there is no log yet, and creates none", async () => {
    expect(await run("status")).toMatchObject({ code: 1, stderr: expect.stringContaining('no log "n-log"') });
    expect((await run("status")).code).toBe(1);
  });

  it("create begins a log only once", async () => {
    const created = await run("create", "--json");
    expect(created.stderr).toBe("");
    const { id } = JSON.parse(created.stdout) as { id: string };
    const status = await run("status", "--json");
    expect(JSON.parse(status.stdout)).toMatchObject({ name: "n-log", id, first: 1, last: 1, offset: 0 });
    const again = await run("create");
    expect(again).toMatchObject({ code: 1, stderr: expect.stringMatching(/^CONFLICT: .*\n {2}hint: /) });
  });

  it("create permits a node to begin a new log even if there are checkpoints of a lost one", async () => {
    const first = await startAgain("one");
    const { txId } = await first.submit({ ops: [["put", "pods", "a", 1]] });
    await first.await(txId);
    await saveCheckpoint(first);
    await first.close();
    await rm(path.join(folder, "cairn-data", "n-log"), { recursive: true });
    const { code, stderr } = await run("create");
    expect([code, stderr]).toEqual([1, expect.stringMatching(/^CONFLICT: .*cairn log create --empty/s)]);
    expect((await run("create", "--empty")).code).toBe(0);
    const second = await startAgain("two");
    expect((await second.status()).index).toMatchObject({ txId: 1, documents: 0 });
    await second.close();
  });
});
