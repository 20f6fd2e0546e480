import { mkdir, mkdtemp, realpath, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { makeFolder } from "../../src/index.ts";

async function testDirectory(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), "cairn-make-"));
  onTestFinished(() => rm(dir, { recursive: true, force: true }));
  return dir;
}

test("a folder is made with what is missing above it, and the topmost one made is told", async () => {
  const dir = await testDirectory();
  expect(await makeFolder(join(dir, "a", "b", "c"))).toBe(join(dir, "a"));
  expect((await stat(join(dir, "a", "b", "c"))).isDirectory()).toBe(true);
  expect(await makeFolder(join(dir, "a", "b", "c"))).toBeUndefined();
  expect(await makeFolder(join(dir, "a", "b", "d"))).toBe(join(dir, "a", "b", "d"));
});

test("a relative path is made below the working directory, and told as it was given", async () => {
  const dir = relative(process.cwd(), await realpath(await testDirectory()));
  expect(await makeFolder(join(dir, "x", "y"))).toBe(join(dir, "x"));
});

test("a link to a folder is a folder, and what is in the way is said with the system's code", async () => {
  const dir = await testDirectory();
  await mkdir(join(dir, "real"));
  await symlink(join(dir, "real"), join(dir, "link"));
  expect(await makeFolder(join(dir, "link"))).toBeUndefined();
  await writeFile(join(dir, "file"), "");
  await expect(makeFolder(join(dir, "file"))).rejects.toMatchObject({ code: "EEXIST" });
  await expect(makeFolder(join(dir, "file", "below"))).rejects.toMatchObject({ code: "ENOTDIR" });
});

test("many at once make one folder without one of them failing", async () => {
  const deep = join(await testDirectory(), "a", "b", "c", "d");
  const made = await Promise.all(Array.from({ length: 20 }, () => makeFolder(deep)));
  expect(made.filter((one) => one !== undefined).length).toBeGreaterThan(0);
});

test.runIf(process.platform === "linux")(
  "a file system that takes no folders is refused at once, not tried for ever",
  async () => {
    await expect(makeFolder("/proc/cairn/below")).rejects.toMatchObject({
      code: "CONFIG_INVALID",
      message: expect.stringContaining("/proc/cairn/below"),
    });
  },
);
