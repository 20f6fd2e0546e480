import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type CheckpointSource, filesystemStore, startCheckpointer } from "@cairn/checkpoint";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { cairn, CapturedTerminal, type CommandResult } from "./captured-terminal.ts";

let dir = "";

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "cairn-cli-"));
});

afterEach(() => rm(dir, { recursive: true, force: true }));

function run(...argv: string[]): Promise<CommandResult> {
  return cairn(["checkpoint", ...argv], new CapturedTerminal({ cwd: dir }));
}

/** A source whose index is one file that says its transaction. */
function sourceAt(txId: number): CheckpointSource {
  return {
    node: "node-1",
    version: "0.1.0",
    position: () => Promise.resolve({ logId: "log-1", txId }),
    capture: async (target) => {
      await mkdir(target, { recursive: true });
      await writeFile(join(target, "CURRENT"), `state ${txId}\n`);
      return {
        format: { index: 1, kv: "leveldb/1" },
        log: { id: "log-1", name: "cairn", offset: 0 },
        txId,
        txTime: "2026-11-20T06:12:26.123Z",
        anchor: { txId, sha256: "0".repeat(64) },
        documents: txId,
      };
    },
  };
}

/** Saves a checkpoint of each transaction into the folder `store`; answers their names, oldest first. */
async function saveCheckpoints(...txIds: number[]): Promise<string[]> {
  const store = filesystemStore({ path: join(dir, "store") });
  const names: string[] = [];
  for (const txId of txIds) {
    const checkpointer = startCheckpointer({
      source: sourceAt(txId),
      options: {
        store,
        approxFrequency: 3_600_000,
        checkpointDir: join(dir, "capture"),
        keepDirBetweenCheckpoints: true,
        keepDirOnClose: false,
        checkpointOnClose: false,
        compression: "none",
      },
      onEvent: () => undefined,
    });
    const outcome = await checkpointer.checkpointNow().done;
    if (outcome.outcome === "taken") names.push(outcome.checkpoint.name);
    await checkpointer.stop();
  }
  await store.close();
  return names;
}

/** Changes one byte in the middle of a checkpoint's archive. */
async function damage(name: string): Promise<void> {
  const archive = join(dir, "store", `${name}.tar`);
  const bytes = await readFile(archive);
  bytes[512 + 3] = (bytes[512 + 3] ?? 0) ^ 1;
  await writeFile(archive, bytes);
}

describe("checkpoints in a folder", () => {
  test("are listed newest first, also as JSON", async () => {
    const [older = "", newer = ""] = await saveCheckpoints(5, 12);
    const { code, stdout } = await run("list", "store");
    expect(code).toBe(0);
    expect(stdout).toMatch(/^NAME +TX +DOCUMENTS +SIZE +TAKEN +NODE\n/);
    expect(stdout.indexOf(newer)).toBeLessThan(stdout.indexOf(older));
    const json = (await run("list", "store", "--json")).stdout.trim().split("\n");
    expect(json.map((line) => JSON.parse(line) as object)).toMatchObject([
      { name: newer, txId: 12, logId: "log-1" },
      { name: older, txId: 5 },
    ]);
  });

  test("that cannot be used are told beside those that can", async () => {
    const [older = "", newer = ""] = await saveCheckpoints(5, 12);
    await rm(join(dir, "store", `${newer}.tar`));
    await copyFile(join(dir, "store", `${older}.json`), join(dir, "store", "notes.txt"));
    const { code, stdout, stderr } = await run("list", "store");
    expect(code).toBe(0);
    expect(stdout).toContain(older);
    expect(stdout).not.toContain(newer);
    expect(stderr).toContain(`skipped ${newer}: CHECKPOINT_INCOMPLETE`);
  });

  test("are shown: the newest of the folder, or the one whose file is named", async () => {
    const [older = "", newer = ""] = await saveCheckpoints(5, 12);
    expect((await run("show", "./store")).stdout).toContain(newer);
    for (const ending of ["", ".json", ".tar"]) {
      expect((await run("show", `store/${older}${ending}`)).stdout).toMatch(new RegExp(`Name +${older}\n`));
    }
    expect(JSON.parse((await run("show", `store/${older}`, "--json")).stdout)).toMatchObject({ txId: 5 });
  });

  test.each([
    ["show", "store/checkpoint-7-2026-11-20T06-00-00.000Z-1f3a9c0e"],
    ["restore", "store", "--name", "checkpoint-7-2026-11-20T06-00-00.000Z-1f3a9c0e", "-o", "out"],
  ])("that are not there are CHECKPOINT_NOT_FOUND: %s", async (...argv) => {
    await saveCheckpoints(5);
    const { code, stderr } = await run(...argv);
    expect(code).toBe(1);
    expect(stderr).toMatch(/^CHECKPOINT_NOT_FOUND: There is no checkpoint checkpoint-7-/);
  });

  test("in a folder that is not there are no empty list", async () => {
    for (const argv of [
      ["list", "nowhere"],
      ["show", "./nowhere"],
      ["restore", "nowhere", "-o", "out"],
    ]) {
      expect(await run(...argv)).toMatchObject({ code: 1, stderr: expect.stringMatching(/^NOT_FOUND: /) });
    }
  });
});

describe("checkpoint restore", () => {
  test("writes the newest one's files, or those of the one named, and leaves nothing else", async () => {
    const [older = ""] = await saveCheckpoints(5, 12);
    const { code, stdout } = await run("restore", "store", "-o", "newest");
    expect([code, stdout]).toEqual([
      0,
      expect.stringMatching(/^restored .*transaction 12.* to newest: 1 file, 9 B, all verified\n$/),
    ]);
    expect(await readFile(join(dir, "newest", "CURRENT"), "utf8")).toBe("state 12\n");
    await run("restore", "store", "--name", older, "-o", "nested/older");
    await run("restore", `store/${older}.tar`, "-o", "same", "--json");
    for (const target of ["nested/older", "same"]) {
      expect(await readFile(join(dir, target, "CURRENT"), "utf8")).toBe("state 5\n");
    }
    expect((await readdir(dir)).filter((name) => name.startsWith("."))).toEqual([]);
    expect(await readdir(join(dir, "nested"))).toEqual(["older"]);
  });

  test("passes over a damaged newest one, and says so", async () => {
    const [, newer = ""] = await saveCheckpoints(5, 12);
    await damage(newer);
    const { code, stderr } = await run("restore", "store", "-o", "out");
    expect(code).toBe(0);
    expect(stderr).toContain(`skipped ${newer}: CHECKPOINT_CORRUPT`);
    expect(await readFile(join(dir, "out", "CURRENT"), "utf8")).toBe("state 5\n");
  });

  test("of a damaged one that was named restores nothing", async () => {
    const [name = ""] = await saveCheckpoints(5);
    await damage(name);
    const { code, stderr } = await run("restore", "store", "--name", name, "-o", "out");
    expect([code, stderr]).toEqual([1, expect.stringContaining("CHECKPOINT_CORRUPT")]);
    expect((await readdir(dir)).toSorted()).toEqual(["store"]);
  });

  test("never writes into a directory that has something", async () => {
    await saveCheckpoints(5);
    await mkdir(join(dir, "out"));
    await writeFile(join(dir, "out", "mine"), "precious");
    const { code, stderr } = await run("restore", "store", "-o", "out");
    expect([code, stderr]).toEqual([1, expect.stringMatching(/^CONFLICT: /)]);
    expect(await readdir(join(dir, "out"))).toEqual(["mine"]);
  });
});
