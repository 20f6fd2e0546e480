import { access, mkdir, mkdtemp, readdir, rename, rm, stat, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { filesystemStore } from "../../src/index.ts";
import type { CheckpointStore } from "../../src/index.ts";
import { temporaryDirectory } from "@cairn/test-support/stores/places";
import { namesIn, takeAt } from "@cairn/test-support/stores/rounds";
import { testSource } from "@cairn/test-support/stores/test-source";

/**
 * The memory file system of Linux. Apart from the disk, it is the only volume that every machine has mounted and to
 * which every user may write.
 */
const VOLUME = "/dev/shm";

/** Returns a store on a volume below `<dir>/mnt`, which can be unmounted and mounted again. */
async function scene() {
  await access(VOLUME);
  const dir = await temporaryDirectory();
  expect((await stat(dir)).dev).not.toBe((await stat(VOLUME)).dev);
  const volume = await mkdtemp(join(VOLUME, "cairn-store-"));
  onTestFinished(() => rm(volume, { recursive: true, force: true }));
  await mkdir(join(dir, "index"));
  const mountPoint = join(dir, "mnt");
  return {
    dir,
    mountPoint,
    mount: async () => {
      await rm(mountPoint, { recursive: true, force: true });
      await symlink(volume, mountPoint);
    },
    /** Leaves an empty mount point, or one with the file `marker`. */
    unmount: async (marker?: string) => {
      await rename(mountPoint, join(dir, "was-mounted"));
      await rm(join(dir, "was-mounted"));
      await mkdir(mountPoint);
      if (marker !== undefined) await writeFile(join(mountPoint, marker), "The volume is not mounted.");
    },
    /** Opens the store as a process that has just started. */
    open: (folder: string): CheckpointStore =>
      filesystemStore({ path: folder, rememberIn: join(dir, "index", "stores") }),
  };
}

test.each([
  ["itself the mount point", ""],
  ["a folder on the volume", "checkpoints"],
])("after a restart without its volume, a store that was %s is unreachable, not empty", async (_, below) => {
  const { dir, mountPoint, mount, unmount, open } = await scene();
  const folder = join(mountPoint, below);
  await mount();
  const source = testSource();
  await takeAt(1, open(folder), source, dir);
  expect(await open(folder).list("checkpoint-")).toHaveLength(2);
  await unmount();
  const store = open(folder);
  const unreachable = { code: "STORE_UNREACHABLE", message: expect.stringContaining("is not mounted") };
  await expect(store.list("checkpoint-")).rejects.toMatchObject(unreachable);
  await expect(takeAt(2, store, source, dir)).rejects.toMatchObject(unreachable);
  await expect(store.create("in-progress.json", "{}")).rejects.toMatchObject(unreachable);
  expect(await readdir(mountPoint)).toEqual([]);
  await mount();
  await takeAt(2, store, source, dir);
  expect(await namesIn(open(folder))).toHaveLength(4);
});

test.each([
  ["empty", undefined],
  ["with a foreign file", "NOT_MOUNTED"],
])(
  "under a running process, a store without its volume is unreachable, with a mount point %s",
  async (_, marker) => {
    const { dir, mountPoint, mount, unmount } = await scene();
    await mount();
    const source = testSource();
    const store = filesystemStore({ path: mountPoint });
    const name = await takeAt(1, store, source, dir);
    expect(await store.list("checkpoint-")).toHaveLength(2);
    await unmount(marker);
    const unreachable = {
      code: "STORE_UNREACHABLE",
      message: expect.stringContaining("another file system than before"),
    };
    await expect(store.list("checkpoint-")).rejects.toMatchObject(unreachable);
    await expect(store.read(`${name}.json`)).rejects.toMatchObject(unreachable);
    await expect(store.open(`${name}.tar`)).rejects.toMatchObject(unreachable);
    await expect(takeAt(2, store, source, dir)).rejects.toMatchObject(unreachable);
    await expect(store.create("in-progress.json", "{}")).rejects.toMatchObject(unreachable);
    expect(await readdir(mountPoint)).toEqual(marker === undefined ? [] : [marker]);
    await mount();
    await takeAt(2, store, source, dir);
    expect(await namesIn(store)).toHaveLength(4);
  },
);

test("a process that loses the volume before it has listed a checkpoint uses what an earlier process recorded", async () => {
  const { dir, mountPoint, mount, unmount, open } = await scene();
  await mount();
  await takeAt(1, open(mountPoint), testSource(), dir);
  expect(await open(mountPoint).list("checkpoint-")).toHaveLength(2);
  const store = open(mountPoint);
  expect(await store.list("in-progress")).toEqual([]);
  await unmount("NOT_MOUNTED");
  await expect(store.create("in-progress.json", "{}")).rejects.toMatchObject({
    code: "STORE_UNREACHABLE",
    message: expect.stringContaining("is not mounted"),
  });
  expect(await readdir(mountPoint)).toEqual(["NOT_MOUNTED"]);
});

test.each([
  ["checkpoints", "checkpoint-1.tar"],
  ["a lease", "in-progress-log-a.json"],
  ["the backup of a log", "log-a/1.segment"],
])("a store with %s may change to another file system under a running process", async (_, name) => {
  const { mountPoint, mount, unmount } = await scene();
  await mount();
  const store = filesystemStore({ path: mountPoint });
  await store.create(name, "");
  expect(await namesIn(store)).toEqual([name]);
  await unmount();
  await filesystemStore({ path: mountPoint }).create(name, "");
  expect(await namesIn(store)).toEqual([name]);
});

test("a store that was never on a volume may be emptied and used again", async () => {
  const { dir, open } = await scene();
  const folder = join(dir, "store");
  const source = testSource();
  await takeAt(1, open(folder), source, dir);
  expect(await open(folder).list("checkpoint-")).toHaveLength(2);
  await rm(folder, { recursive: true });
  const gone = { code: "STORE_UNREACHABLE", message: /no longer exists/, hint: /create the folder again/ };
  await expect(takeAt(2, open(folder), source, dir)).rejects.toMatchObject(gone);
  await mkdir(folder);
  await takeAt(2, open(folder), source, dir);
  expect(await namesIn(open(folder))).toHaveLength(2);
});

test("a store on a mounted volume may be emptied and used again", async () => {
  const { dir, mountPoint, mount, open } = await scene();
  const folder = join(mountPoint, "checkpoints");
  await mount();
  const source = testSource();
  await takeAt(1, open(folder), source, dir);
  expect(await open(folder).list("checkpoint-")).toHaveLength(2);
  await rm(folder, { recursive: true });
  await mkdir(folder);
  await takeAt(2, open(folder), source, dir);
  expect(await namesIn(open(folder))).toHaveLength(2);
});

test("a store that was moved from its volume to the disk, with its checkpoints, keeps working", async () => {
  const { dir, mountPoint, mount, unmount, open } = await scene();
  await mount();
  const source = testSource();
  await takeAt(1, open(mountPoint), source, dir);
  expect(await open(mountPoint).list("checkpoint-")).toHaveLength(2);
  await unmount();
  await takeAt(1, filesystemStore({ path: mountPoint }), source, dir);
  expect(await open(mountPoint).list("checkpoint-")).toHaveLength(2);
  await rm(mountPoint, { recursive: true });
  await mkdir(mountPoint);
  expect(await open(mountPoint).list("checkpoint-")).toEqual([]);
});

test("once the file that the hint names is removed, the store can be used without the volume", async () => {
  const { dir, mountPoint, mount, unmount, open } = await scene();
  await mount();
  const source = testSource();
  await takeAt(1, open(mountPoint), source, dir);
  expect(await open(mountPoint).list("checkpoint-")).toHaveLength(2);
  await unmount();
  const error: unknown = await open(mountPoint)
    .list("checkpoint-")
    .catch((thrown: unknown) => thrown);
  const [memory = ""] = await readdir(join(dir, "index", "stores"));
  expect(error).toMatchObject({ hint: expect.stringContaining(join(dir, "index", "stores", memory)) });
  await rm(join(dir, "index", "stores", memory));
  await takeAt(2, open(mountPoint), source, dir);
  expect(await namesIn(open(mountPoint))).toHaveLength(2);
});

test("a record that the disk cannot read is named instead of the store", async () => {
  const { dir, mountPoint, mount, open } = await scene();
  await mount();
  await takeAt(1, open(mountPoint), testSource(), dir);
  expect(await open(mountPoint).list("checkpoint-")).toHaveLength(2);
  const [name = ""] = await readdir(join(dir, "index", "stores"));
  const record = join(dir, "index", "stores", name);
  await rm(record);
  // Nothing is mapped at its beginning.
  await symlink("/proc/self/mem", record);
  await expect(open(mountPoint).list("checkpoint-")).rejects.toMatchObject({
    code: "SYSTEM_REFUSED",
    message: expect.stringContaining(`The file ${record} cannot be used`),
  });
});

test("if the process has no folder, nothing is recorded, and nothing is created", async () => {
  const { dir, mountPoint, mount, open } = await scene();
  await rm(join(dir, "index"), { recursive: true });
  await mount();
  await takeAt(1, open(mountPoint), testSource(), dir);
  expect(await open(mountPoint).list("checkpoint-")).toHaveLength(2);
  expect((await readdir(dir)).toSorted()).toEqual(["capture", "mnt"]);
});
