import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { startNode } from "@cairn/node";
import { cairn, CapturedTerminal, type CommandResult } from "@cairn/test-support/nodes/captured-terminal";
import { saveCheckpoint } from "@cairn/test-support/stores/save-checkpoint";

let folder = "";
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "cairn-cli-trim-"));
});
afterEach(async () => await rm(folder, { recursive: true, force: true }));

const SHARED =
  '{:cairn/index-store {:kv-store {:checkpointer {:approx-frequency "PT6H" :store {:cairn/module cairn.checkpoint/->filesystem-checkpoint-store :path "cairn-data/checkpoints" :shared-store true}}}}}';

function run(...args: string[]): Promise<CommandResult> {
  return cairn(args, new CapturedTerminal({ cwd: folder, env: { CAIRN_NODE_ID: "n" } }));
}

/** Writes a log of five messages, and a checkpoint of four of them. */
async function fill(): Promise<void> {
  const node = await startNode(
    { "cairn/node": { id: "n" }, "cairn/http-server": null },
    { env: {}, cwd: folder },
  );
  await node.ready;
  for (const key of ["a", "b", "c"]) {
    await node.await((await node.submit({ ops: [["put", "pods", key, 1]] })).txId);
  }
  await saveCheckpoint(node);
  await node.await((await node.submit({ ops: [["put", "pods", "d", 1]] })).txId);
  await node.close();
}

describe("cairn log trim", () => {
  it("removes nothing, and gives the reason, until a checkpoint is verified", async () => {
    await fill();
    const refused = await run("log", "trim", "-e", SHARED);
    expect(refused).toMatchObject({ code: 0, stderr: "" });
    expect(refused.stdout).toMatch(/^nothing to trim: the log n-log has messages 1 to 5\n.*1 not verified/);
    expect((await run("log", "trim")).stdout).toContain('set "shared-store": true');
  });

  it("trims the messages in a verified checkpoint, and only prints them in a dry run", async () => {
    await fill();
    const verified = await run("checkpoint", "verify", "cairn-data/checkpoints", "--json");
    expect(JSON.parse(verified.stdout)).toMatchObject({ txId: 4, digest: expect.stringMatching(/^sha256:/) });
    const dry = await run("log", "trim", "--dry-run", "-e", SHARED);
    expect(dry.stdout).toMatch(/^would trim messages 1 to 3 of the log n-log; checkpoint-4-.* holds them\n/);
    expect(JSON.parse((await run("log", "status", "--json")).stdout)).toMatchObject({ first: 1 });
    const young = await run("log", "trim", "--keep", "P3D", "-e", SHARED, "--json");
    expect(JSON.parse(young.stdout)).toMatchObject({ trimmed: 0, because: expect.stringContaining("P3D") });
    const done = await run("log", "trim", "-e", SHARED, "--json");
    expect(JSON.parse(done.stdout)).toMatchObject({ first: 1, upTo: 4, trimmed: 3, dryRun: false });
    const status = await run("log", "status");
    expect(status.stdout).toMatch(/Messages +4 to 5\n/);
    expect((await run("log", "create")).stderr).toMatch(/^CONFLICT: /);
  });

  it("refuses an invalid duration and a log that does not exist", async () => {
    expect(await run("log", "trim", "--keep", "3 days")).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("P3D"),
    });
    expect(await run("log", "trim")).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^NOT_FOUND: /),
    });
  });
});

describe("cairn checkpoint verify", () => {
  it("marks the checkpoint unless --no-mark is given, and checkpoint show reports the mark", async () => {
    await fill();
    const unmarked = await run("checkpoint", "verify", "cairn-data/checkpoints", "--no-mark");
    expect(unmarked.stdout).toMatch(
      /^checkpoint-4-\S+ is intact \(transaction 4, sha256:.*\); not marked\n$/,
    );
    expect((await run("checkpoint", "show", "./cairn-data/checkpoints")).stdout).toMatch(/Verified +never/);
    const marked = await run("checkpoint", "verify", "cairn-data/checkpoints");
    expect(marked.stdout).toMatch(/; marked as verified\n$/);
    expect((await run("checkpoint", "show", "./cairn-data/checkpoints")).stdout).toMatch(/Verified +yes/);
  });

  it("makes a node verify its newest checkpoint, or a named one", async () => {
    await fill();
    const node = await startNode(
      { "cairn/node": { id: "n" } },
      { env: { CAIRN_HTTP_PORT: "0" }, cwd: folder },
    );
    try {
      await node.ready;
      const url = ["--url", node.url ?? ""];
      const { digest } = await node.digest();
      await run("checkpoint", "create", ...url);
      const newest = JSON.parse((await run("checkpoint", "verify", "--json", ...url)).stdout) as {
        name: string;
      };
      expect(newest).toMatchObject({ txId: 5, digest, node: "n" });
      expect((await run("checkpoint", "verify", newest.name, ...url)).code).toBe(0);
      expect((await node.status()).checkpoints.lastVerified).toMatchObject({ name: newest.name });
      const missing = "checkpoint-7-2026-11-20T06-00-00.000Z-1f3a9c0e";
      expect(await run("checkpoint", "verify", missing, ...url)).toMatchObject({
        code: 1,
        stderr: expect.stringMatching(/^CHECKPOINT_NOT_FOUND: /),
      });
    } finally {
      await node.close();
    }
  });

  it("of an empty folder is reported as CHECKPOINT_NOT_FOUND", async () => {
    expect(await run("checkpoint", "verify", ".")).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^CHECKPOINT_NOT_FOUND: /),
    });
  });
});
