import { existsSync, readdirSync } from "node:fs";
import { setImmediate as nextTurn } from "node:timers/promises";
import { chmod, mkdir, mkdtemp, open, realpath, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import {
  makeFolder,
  makeTemporaryFolder,
  namesIn,
  removeFolder,
  syncFile,
  syncFolder,
} from "../../src/index.ts";

async function testDirectory(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), "cairn-make-"));
  onTestFinished(() => rm(dir, { recursive: true, force: true }));
  return dir;
}

test("makeFolder creates a folder and its missing parents, and returns the topmost one that it created", async () => {
  const dir = await testDirectory();
  expect(await makeFolder(join(dir, "a", "b", "c"))).toBe(join(dir, "a"));
  expect((await stat(join(dir, "a", "b", "c"))).isDirectory()).toBe(true);
  expect(await makeFolder(join(dir, "a", "b", "c"))).toBeUndefined();
  expect(await makeFolder(join(dir, "a", "b", "d"))).toBe(join(dir, "a", "b", "d"));
});

test("makeTemporaryFolder tells a folder that is missing from one that accepts none, and names what to set", async () => {
  const dir = await testDirectory();
  await expect(makeTemporaryFolder(join(dir, "missing", "x"))).rejects.toMatchObject({
    message: /missing does not exist/,
  });
  await expect(makeTemporaryFolder("/proc/x")).rejects.toMatchObject({
    message: /\/proc accepts no new folders/,
  });
  await chmod(dir, 0o500);
  // Permissions do not apply to root.
  if (process.getuid?.() === 0) {
    process.seteuid?.(65_534);
    onTestFinished(() => process.seteuid?.(0));
  }
  await expect(makeTemporaryFolder(join(dir, "x"))).rejects.toMatchObject({
    code: "CONFIG_INVALID",
    message: /this user may not use it \(EACCES\)/,
    hint: /^Name another one: the variable TMPDIR /,
  });
});

test("makeFolder creates a relative path below the working directory, and returns it as given", async () => {
  const dir = relative(process.cwd(), await realpath(await testDirectory()));
  expect(await makeFolder(join(dir, "x", "y"))).toBe(join(dir, "x"));
});

test("makeFolder accepts a link to a folder, and throws the system's error for anything else in the way", async () => {
  const dir = await testDirectory();
  await mkdir(join(dir, "real"));
  await symlink(join(dir, "real"), join(dir, "link"));
  expect(await makeFolder(join(dir, "link"))).toBeUndefined();
  await writeFile(join(dir, "file"), "");
  await expect(makeFolder(join(dir, "file"))).rejects.toMatchObject({ code: "EEXIST" });
  await expect(makeFolder(join(dir, "file", "below"))).rejects.toMatchObject({ code: "ENOTDIR" });
});

test("concurrent calls of makeFolder create one folder, and none fails", async () => {
  const deep = join(await testDirectory(), "a", "b", "c", "d");
  const made = await Promise.all(Array.from({ length: 20 }, () => makeFolder(deep)));
  expect(made.filter((one) => one !== undefined).length).toBeGreaterThan(0);
});

test.runIf(process.platform === "linux")(
  "makeFolder immediately refuses a file system that accepts no folders",
  async () => {
    await expect(makeFolder("/proc/cairn/below")).rejects.toMatchObject({
      code: "CONFIG_INVALID",
      message: expect.stringContaining("/proc/cairn/below"),
    });
  },
);

test("namesIn lists the names in a folder, and no names for a missing folder", async () => {
  const dir = await testDirectory();
  await mkdir(join(dir, "folder"));
  await writeFile(join(dir, "file"), "");
  expect((await namesIn(dir)).toSorted()).toEqual(["file", "folder"]);
  expect(await namesIn(join(dir, "missing"))).toEqual([]);
  await expect(namesIn(join(dir, "file"))).rejects.toMatchObject({ code: "ENOTDIR" });
});

test("syncFolder and syncFile flush folders and files, and throw for missing ones", async () => {
  const dir = await testDirectory();
  await writeFile(join(dir, "file"), "content");
  await syncFile(join(dir, "file"));
  await syncFolder(dir);
  await expect(syncFile(join(dir, "missing"))).rejects.toMatchObject({ code: "ENOENT" });
  await expect(syncFolder(join(dir, "missing"))).rejects.toMatchObject({ code: "ENOENT" });
});

test.runIf(process.platform === "linux")(
  "syncFolder succeeds on a file system that cannot flush folders, because flushing the file is sufficient",
  async () => {
    const folder = await open("/proc", "r");
    onTestFinished(() => folder.close());
    await expect(folder.sync()).rejects.toMatchObject({ code: "EINVAL" });
    await syncFolder("/proc");
  },
);

test("removeFolder removes everything in a folder, and not what links in it point to", async () => {
  const dir = await testDirectory();
  await mkdir(join(dir, "kept"));
  await writeFile(join(dir, "kept", "file"), "");
  await mkdir(join(dir, "gone", "deeper"), { recursive: true });
  await writeFile(join(dir, "gone", "deeper", "file"), "");
  await symlink(join(dir, "kept"), join(dir, "gone", "link"));
  await symlink(join(dir, "kept"), join(dir, "link"));
  await removeFolder(join(dir, "gone"));
  await removeFolder(join(dir, "link"));
  await removeFolder(join(dir, "missing"));
  expect(await namesIn(dir)).toEqual(["kept"]);
  expect(existsSync(join(dir, "kept", "file"))).toBe(true);
});

test(
  "removeFolder lets other calls through between two files, and also removes a file that is created meanwhile",
  { tags: "rest/slow" },
  async () => {
    const dir = await testDirectory();
    const folder = join(dir, "folder");
    await mkdir(folder);
    const files = 1_000;
    for (let n = 0; n < files; n++) await writeFile(join(folder, String(n)), "");
    const removed = removeFolder(folder);
    while (readdirSync(folder).length === files) await nextTurn();
    await stat(dir);
    expect(readdirSync(folder).length).toBeGreaterThan(files / 2);
    // The folder has been listed already, so this file is found only in the second pass.
    await writeFile(join(folder, "late"), "");
    await removed;
    expect(await namesIn(dir)).toEqual([]);
  },
);
