import { execFileSync } from "node:child_process";
import { mkdir, readdir, symlink, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, onTestFinished, test, vi } from "vitest";
import { type CheckpointStore, filesystemStore, listCheckpoints, readVerification } from "../../src/index.ts";
import { decodeManifest, encodeManifest } from "../../src/store/checkpoint.ts";
import { readReservations } from "../../src/store/reservations.ts";
import { faultyStore } from "../../testing/index.ts";
import { sha256 } from "../support/archives.ts";
import { NAME, someManifest } from "../support/manifests.ts";
import { temporaryDirectory } from "@cairn/test-support/stores/places";
import { restore, sweep, take, takeAt } from "@cairn/test-support/stores/rounds";
import { testSource } from "@cairn/test-support/stores/test-source";

/** Returns a store with a checkpoint at transaction 1, the store's folder, and a folder to work in. */
async function savedStore(): Promise<{ store: CheckpointStore; folder: string; dir: string; name: string }> {
  const dir = await temporaryDirectory();
  const folder = join(dir, "store");
  const store = filesystemStore({ path: folder, temporaryGraceMs: 0 });
  return { store, folder, dir, name: await takeAt(1, store, testSource(), dir) };
}

test("links that lead nowhere, in a circle or through a file do not hide any checkpoint", async () => {
  const { store, folder, name } = await savedStore();
  await symlink("nowhere", join(folder, "checkpoint-gone"));
  await symlink("checkpoint-loop", join(folder, "checkpoint-loop"));
  await symlink(`${name}.tar/below`, join(folder, "checkpoint-through"));
  const { checkpoints } = await listCheckpoints(store);
  expect(checkpoints.map((one) => one.name)).toEqual([name]);
});

test("old folders and links with the names of unfinished files do not stop a save, and are not removed", async () => {
  const { store, folder, dir } = await savedStore();
  await mkdir(join(folder, ".tmp-folder"));
  await symlink(".tmp-link", join(folder, ".tmp-link"));
  await writeFile(join(folder, ".tmp-dead"), "");
  for (const name of [".tmp-folder", ".tmp-dead"]) await utimes(join(folder, name), 1, 1);
  await takeAt(2, store, testSource(), dir);
  const left = (await readdir(folder)).filter((name) => name.startsWith(".tmp-"));
  expect(left.toSorted()).toEqual([".tmp-folder", ".tmp-link"]);
});

test.each([
  ["a pipe", (file: string) => execFileSync("mkfifo", [file])],
  ["a folder", (file: string) => mkdir(file)],
  ["an endless device", (file: string) => symlink("/dev/zero", file)],
  ["a dangling link", (file: string) => symlink("nowhere", file)],
  ["a link in a circle", (file: string) => symlink("in-progress-log-a.json", file)],
])("%s in place of the lease is refused immediately, and does not affect a restore", async (_what, put) => {
  const { store, folder, dir, name } = await savedStore();
  await put(join(folder, "in-progress-log-a.json"));
  const source = testSource();
  source.txId = 2;
  await expect(take(store, source, dir)).rejects.toMatchObject({ code: "CHECKPOINT_CORRUPT" });
  expect((await restore([store], dir)).restored?.name).toBe(name);
});

test("a restore writes no reservation through a link that leads out of the store, and leaves nothing behind", async () => {
  const { store, folder, dir, name } = await savedStore();
  const outside = join(dir, "outside");
  await mkdir(outside);
  await symlink(outside, join(folder, "reservations"));
  await expect(store.create("reservations/x.json", "{}")).rejects.toMatchObject({ code: "STORE_DENIED" });
  const { restored } = await restore([store], dir);
  expect(restored?.name).toBe(name);
  expect(await readdir(outside)).toEqual([]);
  expect((await readdir(folder)).filter((file) => file.startsWith(".tmp-"))).toEqual([]);
});

test("a reservation that never expires ends once it has not been renewed for a long time", async () => {
  const { store, folder, name } = await savedStore();
  const expiresAt = "9999-12-31T23:59:59.999Z";
  const file = "reservations/0123456789abcdef.json";
  await store.create(file, JSON.stringify({ checkpoint: name, node: "a", expiresAt }));
  expect([...(await readReservations(store)).reserved]).toEqual([name]);
  const old = Date.now() / 1_000 - 3_600;
  await utimes(join(folder, file), old, old);
  expect(await readReservations(store)).toMatchObject({ expired: [file] });
});

test("foreign files in the folder of reservations are not read again at every sweep", async () => {
  const { store, folder } = await savedStore();
  await mkdir(join(folder, "reservations"));
  const read: string[] = [];
  const watched = faultyStore(store, {
    before: async ({ method, name }) => void (method === "read" ? read.push(name) : 0),
  });
  for (const name of ["table-4.json", "0123456789abcdef.json", "notes", "fedcba9876543210.json"]) {
    const content = name.startsWith("f") ? "x".repeat(100_000) : "{}";
    await writeFile(join(folder, "reservations", name), content);
  }
  expect(await readReservations(watched)).toMatchObject({ expired: [] });
  expect(read).toEqual(["reservations/0123456789abcdef.json"]);
});

test("oversized files in place of a reservation or a mark are ignored, and do not stop a sweep", async () => {
  const { store, folder, dir, name } = await savedStore();
  await mkdir(join(folder, "reservations"));
  await writeFile(join(folder, "reservations/x.json"), "[".repeat(1_000_000));
  await writeFile(join(folder, `${name}.verified.json`), Buffer.alloc(65 * 1024 * 1024));
  const second = await takeAt(2, store, testSource(), dir);
  const report = await sweep(store, testSource(), { policy: { retainAtLeast: 1 } });
  expect(report).toMatchObject({ removed: [{ name }], failed: [] });
  await writeFile(join(folder, `${second}.verified.json`), "[".repeat(1_000_000));
  expect(await readVerification(store, second, { sha256: "0".repeat(64) })).toBeUndefined();
});

test("a manifest that would take many times its size to parse is refused without parsing it", () => {
  const deep = "[".repeat(20_000_000) + "]".repeat(20_000_000);
  // Parsing such manifests takes seconds and gigabytes.
  const parse = vi.spyOn(JSON, "parse");
  onTestFinished(() => parse.mockRestore());
  for (const text of [deep, `[${"[],".repeat(5_000_000)}[]]`])
    expect(() => decodeManifest(NAME, text)).toThrow(expect.objectContaining({ code: "CHECKPOINT_CORRUPT" }));
  expect(parse).not.toHaveBeenCalled();
  expect(() => decodeManifest(NAME, "[]")).toThrow(NAME);
  expect(parse).toHaveBeenCalledTimes(1);
});

test("the manifest of a very large index is read", { tags: "rest/slow" }, () => {
  const manifest = someManifest();
  const files = Array.from({ length: 100_000 }, (_, n) => ({
    name: `${n}.ldb`,
    bytes: 1,
    sha256: sha256(Buffer.from(String(n))),
  }));
  const large = { ...manifest, files };
  expect(decodeManifest(NAME, encodeManifest(large).text).files).toHaveLength(100_000);
});
