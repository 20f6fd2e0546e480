import { execFile } from "node:child_process";
import { chmod, mkdir, readdir, rename, stat, symlink, truncate, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { promisify } from "node:util";
import { expect, onTestFinished, test, vi } from "vitest";
import { filesystemStore, listCheckpoints } from "../../../src/index.ts";
import { readLeases } from "../../../src/store/lease-record.ts";
import { folderError } from "../../../src/stores/folder/folder-errors.ts";
import { temporaryDirectory } from "@cairn/test-support/stores/places";
import { takeAt } from "@cairn/test-support/stores/rounds";
import { testSource } from "@cairn/test-support/stores/test-source";

function pieces(text: string): Readable {
  return Readable.from([Buffer.from(text)], { objectMode: false });
}

/** Makes a test that runs as root act as another user until it ends, because permissions do not apply to root. */
function withoutPrivileges(): void {
  if (process.getuid?.() !== 0) return;
  process.seteuid?.(65_534);
  onTestFinished(() => process.seteuid?.(0));
}

test("nothing is created on disk before the first write", async () => {
  const dir = await temporaryDirectory();
  const store = filesystemStore({ path: join(dir, "a", "b") });
  await store.list("");
  await store.read("in-progress.json");
  await store.remove("in-progress.json");
  await store.now();
  expect(await readdir(dir)).toEqual([]);
  await store.create("in-progress.json", "{}");
  expect(await readdir(join(dir, "a", "b"))).toEqual(["in-progress.json"]);
});

test("the store's clock is the file system's", async () => {
  const dir = await temporaryDirectory();
  const store = filesystemStore({ path: dir });
  vi.useFakeTimers({ now: 0, toFake: ["Date"] });
  onTestFinished(() => void vi.useRealTimers());
  expect(await store.now()).toBeGreaterThan(Date.parse("2026-01-01"));
  expect(await readdir(dir)).toEqual([]);
});

test("a folder that vanished is unreachable, not empty, and is not created again", async () => {
  const dir = await temporaryDirectory();
  const store = filesystemStore({ path: join(dir, "store") });
  await store.create("a.json", "1");
  await rename(join(dir, "store"), join(dir, "unmounted"));
  const unreachable = { code: "STORE_UNREACHABLE" };
  await expect(store.list("")).rejects.toMatchObject(unreachable);
  await expect(store.read("a.json")).rejects.toMatchObject(unreachable);
  await expect(store.open("a.json")).rejects.toMatchObject(unreachable);
  await expect(store.create("b.json", "1")).rejects.toMatchObject(unreachable);
  await expect(store.upload("b.tar", pieces("x"))).rejects.toMatchObject(unreachable);
  await expect(store.now()).rejects.toMatchObject(unreachable);
  expect(await readdir(dir)).toEqual(["unmounted"]);
  await rename(join(dir, "unmounted"), join(dir, "store"));
  expect(await store.list("")).toHaveLength(1);
});

test("ranges of a file are those of the file that was opened, until it is shortened", async () => {
  const dir = await temporaryDirectory();
  const store = filesystemStore({ path: dir });
  await store.upload("a.tar", pieces("0123456789"));
  const ranges = await store.openRanges?.("a.tar");
  const read = async (start: number, end: number): Promise<string> => String(await ranges?.read(start, end));
  expect(await read(3, 5)).toBe("34");
  await writeFile(join(dir, "other"), "abcdefghij");
  await rename(join(dir, "a.tar"), join(dir, "opened"));
  await rename(join(dir, "other"), join(dir, "a.tar"));
  expect(await read(3, 5)).toBe("34");
  await truncate(join(dir, "opened"), 4);
  expect(await read(3, 4)).toBe("3");
  await expect(read(3, 5)).rejects.toMatchObject({ code: "CHECKPOINT_CORRUPT" });
  await ranges?.close();
});

test.skipIf(process.platform === "win32")("ranges of pipes and folders are not read", async () => {
  const dir = await temporaryDirectory();
  await promisify(execFile)("mkfifo", [join(dir, "pipe.tar")]);
  await mkdir(join(dir, "folder.tar"));
  const store = filesystemStore({ path: dir });
  const notAFile = { code: "CHECKPOINT_CORRUPT", message: expect.stringContaining("not a regular file") };
  for (const name of ["pipe.tar", "folder.tar"]) {
    await expect(store.openRanges?.(name)).rejects.toMatchObject(notAFile);
  }
});

test("a path that leads through a file is unreachable", async () => {
  const dir = await temporaryDirectory();
  await writeFile(join(dir, "file"), "x");
  const store = filesystemStore({ path: join(dir, "file", "store") });
  await expect(store.list("")).rejects.toMatchObject({ code: "STORE_UNREACHABLE" });
  await expect(store.create("a.json", "1")).rejects.toMatchObject({ code: "STORE_UNREACHABLE" });
});

test("a folder without permissions is denied", async () => {
  const dir = await temporaryDirectory();
  await chmod(dir, 0o755);
  await mkdir(join(dir, "locked"), { mode: 0o700 });
  await mkdir(join(dir, "read-only"));
  await writeFile(join(dir, "read-only", "a.json"), "1");
  // The mode must not depend on the umask.
  await chmod(join(dir, "read-only", "a.json"), 0o444);
  await chmod(join(dir, "read-only"), 0o555);
  onTestFinished(() => chmod(join(dir, "read-only"), 0o755));
  withoutPrivileges();
  const locked = filesystemStore({ path: join(dir, "locked", "store") });
  const readOnly = filesystemStore({ path: join(dir, "read-only") });
  const denied = { code: "STORE_DENIED" };
  if (process.getuid?.() === 0) await expect(locked.list("")).rejects.toMatchObject(denied);
  await expect(readOnly.create("b.json", "1")).rejects.toMatchObject(denied);
  await expect(readOnly.upload("b.tar", pieces("x"))).rejects.toMatchObject(denied);
  await expect(readOnly.remove("a.json")).rejects.toMatchObject(denied);
  await expect(readOnly.now()).rejects.toMatchObject(denied);
  expect(await readOnly.list("")).toHaveLength(1);
  expect((await readOnly.read("a.json"))?.text).toBe("1");
});

test.each([
  ["that its group may write, has its mode", 0o2770, 0o2770],
  ["that is sticky, as /tmp is, has that of the umask", 0o1777, 0o755],
])("a store in a folder %s", async (_, mode, expected) => {
  const dir = await temporaryDirectory();
  await chmod(dir, mode);
  const before = process.umask(0o022);
  onTestFinished(() => void process.umask(before));
  await filesystemStore({ path: join(dir, "store") }).create("a.json", "1");
  const modes = await Promise.all(["store", "store/a.json"].map((name) => stat(join(dir, name))));
  expect(modes.map((one) => one.mode & 0o7777)).toEqual([expected, expected & 0o666]);
});

test("a foreign folder that this user may not read does not affect checkpoints and leases", async () => {
  const dir = await temporaryDirectory();
  await chmod(dir, 0o777);
  const store = filesystemStore({ path: dir });
  const name = await takeAt(1, store, testSource(), await temporaryDirectory());
  for (const foreign of ["checkpoint-old", "in-progress-old"]) await mkdir(join(dir, foreign), { mode: 0 });
  withoutPrivileges();
  expect((await listCheckpoints(store)).checkpoints).toMatchObject([{ name }]);
  expect(await readLeases(store)).toEqual([]);
});

test("the error for a folder of the store that this user may not read names that folder", async () => {
  const dir = await temporaryDirectory();
  await chmod(dir, 0o755);
  for (const folder of ["log-a", "reservations"]) await mkdir(join(dir, folder), { mode: 0 });
  withoutPrivileges();
  const store = filesystemStore({ path: dir });
  for (const folder of ["log-a/", "reservations/"]) {
    const message = expect.stringContaining(`does not permit listing the files in ${folder} (EACCES)`);
    await expect(store.list(folder)).rejects.toMatchObject({ code: "STORE_DENIED", message });
  }
});

test.each([
  ["ENOSPC", "STORE_FULL"],
  ["EDQUOT", "STORE_FULL"],
  ["EROFS", "STORE_DENIED"],
  ["EPERM", "STORE_DENIED"],
  ["EMFILE", "SYSTEM_REFUSED"],
  ["ENOMEM", "SYSTEM_REFUSED"],
  ["EIO", "STORE_UNREACHABLE"],
  ["ESTALE", "STORE_UNREACHABLE"],
  ["ENOTCONN", "STORE_UNREACHABLE"],
])("%s from the file system becomes %s", (code, expected) => {
  const error = Object.assign(new Error(code), { code });
  expect(folderError(error, "writing a.tar", "file:///store")).toMatchObject({
    code: expected,
    cause: error,
    ...(code === "EROFS"
      ? {
          message: expect.stringContaining("read-only file system"),
          hint: expect.stringMatching(/^Mount it/),
        }
      : {}),
  });
});

test("a store whose path leads to a file says so", async () => {
  const file = join(await temporaryDirectory(), "file");
  await writeFile(file, "");
  for (const path of [file, join(file, "store")]) {
    const store = filesystemStore({ path });
    const hint = expect.stringMatching(/^Correct the path/) as string;
    const refusal = {
      code: "STORE_UNREACHABLE",
      message: expect.stringContaining("is not a folder") as string,
      hint,
    };
    await expect(store.list("")).rejects.toMatchObject(refusal);
    await expect(store.upload("a.tar", pieces("x"))).rejects.toMatchObject(refusal);
  }
  // The hint is followed.
  await rename(file, `${file}-away`);
  expect(await filesystemStore({ path: file }).list("")).toEqual([]);
});

test("an error that does not come from the file system stays unchanged", () => {
  const bug = new TypeError("a bug");
  expect(folderError(bug, "writing a.tar", "file:///store")).toBe(bug);
});

test("temporary files of dead writers are removed when the time is asked for, but files that are being written are kept", async () => {
  const dir = await temporaryDirectory();
  const store = filesystemStore({ path: dir, temporaryGraceMs: 60_000 });
  await writeFile(join(dir, ".tmp-dead"), "half");
  await writeFile(join(dir, ".tmp-alive"), "half");
  await utimes(join(dir, ".tmp-dead"), new Date(), new Date(Date.now() - 120_000));
  expect(await store.list("")).toEqual([]);
  await store.now();
  expect(await readdir(dir)).toEqual([".tmp-alive"]);
});

test("hidden files, folders and dangling links are not listed", async () => {
  const dir = await temporaryDirectory();
  const store = filesystemStore({ path: dir });
  await mkdir(join(dir, "checkpoint-5-folder", "deep", "deeper"), { recursive: true });
  await writeFile(join(dir, ".hidden"), "x");
  await writeFile(join(dir, "a b.json"), "x");
  await symlink(join(dir, "nowhere"), join(dir, "checkpoint-link.json"));
  expect(await store.list("")).toEqual([]);
});

test("a process that died while it replaced a file delays the next one by only a few seconds", async () => {
  const dir = await temporaryDirectory();
  const store = filesystemStore({ path: dir });
  await store.create("in-progress.json", "1");
  const tag = (await store.read("in-progress.json"))?.tag ?? "";
  const claim = join(dir, `.tmp-claim-in-progress.json-${tag.slice(0, 16)}`);
  await writeFile(claim, "");
  expect(await store.replace("in-progress.json", "2", tag)).toBe(false);
  await utimes(claim, new Date(), new Date(Date.now() - 60_000));
  expect(await store.replace("in-progress.json", "2", tag)).toMatchObject({ tag: expect.any(String) });
  expect(await readdir(dir)).toEqual(["in-progress.json"]);
});

test("a manifest of an impossible size is refused without being read", async () => {
  const dir = await temporaryDirectory();
  const store = filesystemStore({ path: dir });
  await writeFile(join(dir, "a.json"), "");
  await truncate(join(dir, "a.json"), 65 * 1024 * 1024);
  await expect(store.read("a.json")).rejects.toMatchObject({ code: "CHECKPOINT_CORRUPT" });
});

test("a file that was opened for a reader that has been aborted fails for that reader, and does not end the process", async () => {
  const dir = await temporaryDirectory();
  await writeFile(join(dir, "a.tar"), "content");
  const stream = await filesystemStore({ path: dir }).open("a.tar", { signal: AbortSignal.abort() });
  // There is no listener, so an unhandled error would end the process, and with it this run.
  await vi.waitFor(() => expect(stream.closed).toBe(true));
  await expect(stream.toArray()).rejects.toThrow("aborted");
});
