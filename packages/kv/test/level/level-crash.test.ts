import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdir, symlink } from "node:fs/promises";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { expectWhole } from "../../testing/counted-rows.ts";
import { testDirectory } from "../support/test-directory.ts";

const directory = testDirectory();
const OTHER_PROCESS = fileURLToPath(new URL("../../dist/test/support/other-process.js", import.meta.url));

function otherProcess(task: "open" | "write", dir: string): ChildProcess {
  return spawn(process.execPath, [OTHER_PROCESS, task, dir], { stdio: ["ignore", "pipe", "inherit"] });
}

/** Runs the other process until it has printed `lines` lines, kills it, and returns the last line. */
async function killedAfter(child: ChildProcess, lines: number): Promise<string> {
  if (child.stdout === null) throw new Error("The output of the other process is not piped.");
  const exited = once(child, "exit");
  let last = "";
  let seen = 0;
  for await (const line of createInterface({ input: child.stdout })) {
    last = line;
    seen += 1;
    if (seen === lines) child.kill("SIGKILL");
  }
  await exited;
  return last;
}

/** Kills a process after it has written some batches, and expects the store to contain all that it acknowledged. */
async function expectPrefixAfter(batches: number): Promise<void> {
  const acknowledged = Number(await killedAfter(otherProcess("write", directory.path("store")), batches));
  expect(acknowledged).toBeGreaterThanOrEqual(batches * 100);
  const store = await directory.open("store");
  expect(await expectWhole(store)).toBeGreaterThanOrEqual(acknowledged);
}

/** Opens a store several times while another process writes to it, and expects each attempt to be refused. */
async function expectLocked(times: number): Promise<void> {
  const child = otherProcess("write", directory.path("store"));
  if (child.stdout === null) throw new Error("The output of the other process is not piped.");
  const exited = once(child, "exit");
  await once(child.stdout, "data");
  child.stdout.resume();
  // The other process may remove files while this one looks at them.
  for (let n = 0; n < times; n += 1)
    await expect(directory.open("store")).rejects.toMatchObject({ code: "INDEX_LOCKED" });
  child.kill("SIGKILL");
  await exited;
  await expectWhole(await directory.open("store"));
}

describe("a process that is killed while it writes", () => {
  it.each([1, 7, 30])(
    "leaves a prefix that contains every acknowledged batch, after %i batches",
    expectPrefixAfter,
  );

  it.each([60, 300])(
    "leaves a prefix that contains every acknowledged batch, after %i batches",
    { tags: "rest/slow" },
    expectPrefixAfter,
  );
});

describe("a store that is open", () => {
  it("is INDEX_LOCKED for another process, which changes nothing", async () => {
    const store = await directory.open("store");
    await store.batch([{ type: "put", key: Uint8Array.of(1), value: Uint8Array.of(1) }]);
    expect(await killedAfter(otherProcess("open", directory.path("store")), 2)).toBe("INDEX_LOCKED");
    expect(await store.get(Uint8Array.of(1))).toHaveLength(1);
    await store.close();
    expect(await killedAfter(otherProcess("open", directory.path("store")), 2)).toBe("opened");
  });

  it("is INDEX_LOCKED for the same process through any path, and stays locked for others", async () => {
    await mkdir(directory.path("store"));
    await symlink(directory.path("store"), directory.path("alias"));
    await directory.open("store");
    await expect(directory.open("store")).rejects.toMatchObject({ code: "INDEX_LOCKED" });
    await expect(directory.open("alias")).rejects.toMatchObject({ code: "INDEX_LOCKED" });
    expect(await killedAfter(otherProcess("open", directory.path("store")), 2)).toBe("INDEX_LOCKED");
  });

  it("is INDEX_LOCKED here while another process has it open", async () => {
    await expectLocked(10);
  });

  it("is INDEX_LOCKED here however often it is opened", { tags: "rest/slow" }, async () => {
    await expectLocked(60);
  });
});
