import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { IndexFolders } from "../../src/own-indexes/index-folders.ts";
import { KeptBuild } from "../../src/own-indexes/kept-build.ts";

let folder = "";
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "cairn-build-"));
});
afterEach(async () => await rm(folder, { recursive: true, force: true }));

it("notes what a checkpoint and the purge have purged at the same time, beside a new build", async () => {
  const folders = new IndexFolders(folder);
  const build = new KeptBuild(folders, async () => undefined);
  for (let version = 1; version <= 5; version += 1) {
    const complete = {
      version,
      dir: await folders.begin(version),
      options: {},
      buckets: undefined,
      purged: { txId: 0, at: 0 },
    };
    await Promise.all([
      build.replace(complete),
      ...Array.from({ length: 5 }, (_, at) => build.notePurged(version * 10 + at)),
    ]);
    expect(await folders.complete()).toMatchObject({ version, purged: { txId: version * 10 + 4 } });
  }
});
