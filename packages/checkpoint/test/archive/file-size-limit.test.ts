import { execFileSync } from "node:child_process";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { filesystemStore } from "../../src/index.ts";
import { temporaryDirectory } from "@cairn/test-support/stores/places";
import { namesIn, takeAt } from "@cairn/test-support/stores/rounds";
import { testSource } from "@cairn/test-support/stores/test-source";

const CHILD = fileURLToPath(new URL("../../dist/test/support/limited-child.js", import.meta.url));

test("a save and a restore that exceed the limit on the size of files name it, and both clean up", async () => {
  const dir = await temporaryDirectory();
  const store = filesystemStore({ path: join(dir, "store") });
  // The archive contains a file of 100,000 bytes, and the process below may not write more than 51,200 bytes to a file.
  const name = await takeAt(1, store, testSource(), dir);
  const script = `ulimit -f 50 && exec "$0" "$1" "$2" "$3"`;
  const answer = execFileSync("bash", ["-c", script, process.execPath, CHILD, dir, join(dir, "store")]);
  const limit =
    /^DISK_FULL: .* file size limit of this process \(EFBIG\).* Raise the limit on the size of files/;
  expect(JSON.parse(answer.toString())).toEqual({
    saving: expect.stringMatching(limit),
    restoring: expect.stringMatching(limit),
  });
  expect(await readdir(join(dir, "full"))).toEqual([]);
  expect(await readdir(join(dir, "capture"))).toEqual([]);
  expect(await readdir(join(dir, "staging"))).toEqual([]);
  expect(await namesIn(store)).toEqual([`${name}.json`, `${name}.tar`]);
});
