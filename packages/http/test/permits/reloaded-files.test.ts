import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CairnError } from "@cairn/kv";
import { expect, onTestFinished, test, vi } from "vitest";
import { ReloadedFiles } from "../../src/permits/reloaded-files.ts";
import { quickLooks } from "./quick-looks.ts";

test("changed files that could not be read for a moment are read at the next look, and the reason is reported once", async () => {
  quickLooks();
  const folder = await mkdtemp(join(tmpdir(), "cairn-reloaded-"));
  onTestFinished(() => rm(folder, { recursive: true }));
  const path = join(folder, "token");
  await writeFile(path, "first");
  let failures = 0;
  const read = vi.fn<() => Promise<string>>(async () => {
    if (failures === 0) return "read";
    failures -= 1;
    throw new CairnError("CONFIG_INVALID", "too many open files");
  });
  const applied: string[] = [];
  const refused: unknown[] = [];
  const logger = { error: () => {}, warn: () => {}, debug: () => {} };
  const files = new ReloadedFiles({ logger, onFiles: (_paths, problem) => refused.push(problem) });
  await files.follow([path], "It cannot be used.", read, (contents) => applied.push(contents));
  onTestFinished(() => files.close());
  failures = 3;
  await writeFile(path, "second, longer");
  await vi.waitFor(() => expect(applied).toEqual(["read", "read"]), 10_000);
  expect(read).toHaveBeenCalledTimes(5);
  expect(refused).toEqual([expect.any(Error), undefined]);
});
