import { existsSync } from "node:fs";
import { mkdir, readFile, readdir, writeFile } from "node:fs/promises";
import { describe, expect, it } from "vitest";
import { captureFileSystem, captureLevelDb } from "../../src/capture/live-capture.ts";
import { countedBatch, expectWhole } from "../../testing/counted-rows.ts";
import { fullAtSecond, systemError, twoLogs, withCalls } from "./capture-faults.ts";
import { testDirectory } from "../support/test-directory.ts";

const directory = testDirectory();

describe("a capture that fails", () => {
  it("throws CHECKPOINT_INCOMPLETE if tables keep vanishing, and leaves nothing behind", async () => {
    const store = await directory.open("live");
    for (let count = 0; count < 1000; count += 100) await store.batch(countedBatch(count, 100, 300));
    const fileSystem = withCalls({
      link: (from, to) =>
        !from.endsWith("5.ldb") ? Promise.reject(systemError("ENOENT")) : captureFileSystem.link(from, to),
    });
    const capture = captureLevelDb(directory.path("live"), directory.path("capture"), {
      fileSystem,
      maxStarts: 2,
      maxReads: 3,
    });
    await expect(capture).rejects.toMatchObject({ code: "CHECKPOINT_INCOMPLETE" });
    expect(existsSync(directory.path("capture"))).toBe(false);
  });

  it.each(["link", "copy", "write"] as const)(
    "throws DISK_FULL when a %s runs out of space, and removes its files",
    async (call) => {
      const store = await directory.open("live");
      for (let count = 0; count < 3000; count += 100) await store.batch(countedBatch(count, 100, 300));
      await mkdir(directory.path("capture"));
      const fileSystem = fullAtSecond(call);
      const capture = captureLevelDb(directory.path("live"), directory.path("capture"), { fileSystem });
      await expect(capture).rejects.toMatchObject({ code: "DISK_FULL", cause: { code: "ENOSPC" } });
      expect(await readdir(directory.path("capture"))).toEqual([]);
      await captureLevelDb(directory.path("live"), directory.path("capture"));
      expect(await expectWhole(await directory.open("capture"))).toBe(3000);
    },
  );

  it("throws unknown errors, and removes its files", async () => {
    const store = await directory.open("live");
    await store.batch(countedBatch(0, 100, 300));
    const fileSystem = withCalls({ write: () => Promise.reject(systemError("EIO")) });
    const capture = captureLevelDb(directory.path("live"), directory.path("capture"), { fileSystem });
    await expect(capture).rejects.toMatchObject({ code: "EIO" });
    expect(existsSync(directory.path("capture"))).toBe(false);
  });

  it("throws INDEX_CORRUPT if there is no database, or its manifest is damaged", async () => {
    await mkdir(directory.path("nothing"));
    const nothing = captureLevelDb(directory.path("nothing"), directory.path("capture"));
    await expect(nothing).rejects.toMatchObject({ code: "INDEX_CORRUPT" });
    await twoLogs(directory, "damaged");
    const [manifest = ""] = (await readdir(directory.path("damaged"))).filter((name) =>
      name.startsWith("MANIFEST"),
    );
    const bytes = await readFile(directory.path("damaged", manifest));
    bytes.writeUInt8(bytes.readUInt8(12) ^ 1, 12);
    await writeFile(directory.path("damaged", manifest), bytes);
    const damaged = captureLevelDb(directory.path("damaged"), directory.path("capture"));
    await expect(damaged).rejects.toMatchObject({ code: "INDEX_CORRUPT" });
    expect(existsSync(directory.path("capture"))).toBe(false);
  });
});
