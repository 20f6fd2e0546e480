import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { type CompleteBuild, IndexFolders } from "../../src/own-indexes/index-folders.ts";
import { KeptBuild } from "../../src/own-indexes/kept-build.ts";

let folder = "";
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "cairn-build-"));
});
afterEach(async () => await rm(folder, { recursive: true, force: true }));

async function beginBuild(folders: IndexFolders, version: number): Promise<CompleteBuild> {
  const dir = await folders.begin(version);
  return { version, dir, options: {}, buckets: undefined, purged: { txId: 0, at: 0 } };
}

it("notes what a checkpoint and the purge have purged at the same time, beside a new build", async () => {
  const folders = new IndexFolders(folder);
  const build = new KeptBuild(folders, async () => undefined);
  for (let version = 1; version <= 5; version += 1) {
    await Promise.all([
      build.replace(await beginBuild(folders, version)),
      ...Array.from({ length: 5 }, (_, at) => build.notePurged(version * 10 + at)),
    ]);
    expect(await folders.complete()).toMatchObject({ version, purged: { txId: version * 10 + 4 } });
  }
});

it("leaves only the build that was meant, although another one is taking its place", async () => {
  const folders = new IndexFolders(folder);
  const leaves: Promise<void>[] = [];
  const build = new KeptBuild(folders, async (dir) => void leaves.push(build.leave(dir)));
  await build.replace(await beginBuild(folders, 1));
  const second = await beginBuild(folders, 2);
  await build.replace(second);
  await Promise.all(leaves);
  expect(leaves).toHaveLength(1);
  expect(await folders.complete()).toMatchObject({ version: 2 });
  expect(build.served).toEqual(second);
  expect(await readdir(second.dir)).toEqual([]);
});

it("does not leave a build that a thread has taken up before its turn came", async () => {
  const folders = new IndexFolders(folder);
  const build = new KeptBuild(folders, async () => undefined);
  await build.replace(await beginBuild(folders, 1));
  const leaving = build.leave();
  build.isHeld = true;
  await leaving;
  expect(await folders.complete()).toMatchObject({ version: 1 });
  build.isHeld = false;
  await build.leave();
  expect(await folders.complete()).toBeUndefined();
  expect(build.served).toBeUndefined();
});
