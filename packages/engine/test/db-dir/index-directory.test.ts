import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { mountSmallDisk } from "@cairn/test-support/small-disk";
import { CairnError } from "@cairn/kv";
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from "vitest";
import { IndexDirectory } from "../../src/db-dir/index-directory.ts";

let folder = "";
let directory: IndexDirectory;
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "cairn-dir-"));
  directory = await IndexDirectory.acquire(path.join(folder, "index"));
});
afterEach(async () => {
  await directory.release();
  await rm(folder, { recursive: true, force: true });
});

async function makeLive(content: string): Promise<void> {
  await mkdir(directory.layout.live, { recursive: true });
  await writeFile(path.join(directory.layout.live, "CURRENT"), content);
}

async function moveAside(content: string, code: "INDEX_CORRUPT" | "LOG_REGRESSED"): Promise<string> {
  await makeLive(content);
  const reason = new CairnError(code, `because of ${content}`);
  return (await directory.moveAside(reason, { holdsLost: code === "LOG_REGRESSED" })).path;
}

describe("a db-dir", () => {
  it("whose index is part of a container's image can be moved aside", { tags: "rest/root" }, async () => {
    await makeLive("baked in");
    await mkdir(path.join(directory.layout.live, "unchecked"));
    await directory.release();
    const place = await mkdtemp(path.join(tmpdir(), "cairn-image-"));
    onTestFinished(() => rm(place, { recursive: true, force: true }));
    const disk = await mountSmallDisk(place, 8);
    onTestFinished(disk.unmount);
    const [upper, work, merged] = ["upper", "work", "merged"].map((name) => path.join(disk.path, name));
    for (const one of [upper, work, merged]) await mkdir(one ?? "");
    const layers = `lowerdir=${directory.path},upperdir=${upper},workdir=${work},redirect_dir=off`;
    await promisify(execFile)("mount", ["-t", "overlay", "-o", layers, "overlay", merged ?? ""]);
    onTestFinished(async () => void (await promisify(execFile)("umount", ["-l", merged ?? ""])));
    directory = await IndexDirectory.acquire(merged ?? "");
    const aside = await directory.moveAside(new CairnError("INDEX_CORRUPT", "damaged"), { holdsLost: false });
    expect(await readFile(path.join(aside.path, "live", "CURRENT"), "utf8")).toBe("baked in");
    expect((await readdir(aside.path)).toSorted()).toEqual(["live", "why.json"]);
    expect(await directory.hasLive()).toBe(false);
    await mkdir(directory.layout.staging);
    await directory.place(directory.layout.staging);
    await directory.release();
    directory = await IndexDirectory.acquire(path.join(folder, "index"));
  });

  it.each([
    ["a file in its place", async () => await writeFile(path.join(folder, "other"), "")],
    [
      "a file in place of a parent",
      async () => await writeFile(path.join(folder, "other"), "").then(() => "below"),
    ],
  ])("cannot be acquired with %s, and the error names that file", async (_, prepare) => {
    const below = (await prepare()) ?? "";
    await expect(IndexDirectory.acquire(path.join(folder, "other", below))).rejects.toMatchObject({
      code: "CONFIG_INVALID",
      message: expect.stringContaining(path.join(folder, "other")),
      hint: expect.stringContaining("Nothing was deleted"),
    });
  });

  it("is released if it could not be acquired completely", async () => {
    await directory.release();
    await mkdir(path.join(directory.path, "holder.json"));
    await expect(IndexDirectory.acquire(directory.path)).rejects.toMatchObject({ code: "EISDIR" });
    await rm(path.join(directory.path, "holder.json"), { recursive: true });
    directory = await IndexDirectory.acquire(directory.path);
  });

  it.each(["live", "staging", "rebuild", "quarantine"])(
    "is refused if %s is a link, which cannot be moved by renaming",
    async (name) => {
      const dbDir = path.join(folder, "linked");
      await mkdir(dbDir);
      await symlink(await mkdtemp(path.join(folder, "elsewhere-")), path.join(dbDir, name));
      await expect(IndexDirectory.acquire(dbDir)).rejects.toMatchObject({
        code: "CONFIG_INVALID",
        message: `${path.join(dbDir, name)} is a symbolic link.`,
        hint: expect.stringContaining("as a whole"),
      });
      // The refusal left no lock, and the db-dir as a whole may be a link.
      await rm(path.join(dbDir, name));
      await symlink(dbDir, path.join(folder, "other-name"));
      await (await IndexDirectory.acquire(path.join(folder, "other-name"))).release();
    },
  );

  it("reports a circular link in its path", async () => {
    const circle = path.join(folder, "circle");
    await symlink(circle, circle);
    await expect(IndexDirectory.acquire(path.join(circle, "index"))).rejects.toMatchObject({
      code: "CONFIG_INVALID",
      message: expect.stringContaining("contains a loop of symbolic links (ELOOP)"),
    });
  });

  it("reports which of its folders cannot be used", async () => {
    await writeFile(directory.layout.live, "");
    await expect(directory.hasLive()).rejects.toMatchObject({ code: "CONFIG_INVALID" });
    await writeFile(directory.layout.quarantine, "");
    const reason = new CairnError("INDEX_CORRUPT", "It is damaged.");
    await expect(directory.moveAside(reason, { holdsLost: false })).rejects.toMatchObject({
      code: "CONFIG_INVALID",
    });
  });

  it("belongs to one holder at a time, and to the next once it is released", async () => {
    const message = `in use by process ${process.pid}`;
    await expect(IndexDirectory.acquire(directory.path)).rejects.toMatchObject({
      code: "INDEX_LOCKED",
      message: expect.stringContaining(message),
    });
    await directory.release();
    directory = await IndexDirectory.acquire(directory.path);
  });

  it("can be acquired even if a crash left an unreadable lock", async () => {
    await directory.release();
    await writeFile(path.join(directory.path, "lock", "CURRENT"), "MANIFEST-999999\n");
    directory = await IndexDirectory.acquire(directory.path);
    expect(await directory.hasLive()).toBe(false);
  });

  it("has no live index while the folder is missing or empty", async () => {
    expect(await directory.hasLive()).toBe(false);
    await mkdir(directory.layout.live);
    expect(await directory.hasLive()).toBe(false);
    await makeLive("x");
    expect(await directory.hasLive()).toBe(true);
  });

  it("moves a whole index to quarantine, with the reason", async () => {
    const aside = await moveAside("one", "INDEX_CORRUPT");
    expect(await readFile(path.join(aside, "live", "CURRENT"), "utf8")).toBe("one");
    expect(JSON.parse(await readFile(path.join(aside, "why.json"), "utf8"))).toMatchObject({
      code: "INDEX_CORRUPT",
      message: "because of one",
      holdsLost: false,
    });
    expect(await directory.hasLive()).toBe(false);
  });

  it("has no index of one's own any more once the index that it was derived from was moved", async () => {
    await mkdir(path.join(directory.layout.own, "one"), { recursive: true });
    await moveAside("one", "LOG_REGRESSED");
    expect(await readdir(directory.path)).not.toContain("own");
  });

  it("keeps the newest two indexes in quarantine, and all that hold transactions lost by the log", async () => {
    const lost = await moveAside("lost", "LOG_REGRESSED");
    const unknown = path.join(directory.layout.quarantine, "2020-01-01T00-00-00.000Z-by-hand");
    await mkdir(unknown);
    const old = await moveAside("old", "INDEX_CORRUPT");
    const newer = await moveAside("newer", "INDEX_CORRUPT");
    const newest = await moveAside("newest", "INDEX_CORRUPT");
    const kept = (await readdir(directory.layout.quarantine)).map((name) =>
      path.join(directory.layout.quarantine, name),
    );
    expect(kept.toSorted()).toEqual([lost, newer, newest, unknown].toSorted());
    expect(kept).not.toContain(old);
  });

  it("counts the orphans of an index once if its move failed after the note was written", async () => {
    const reason = new CairnError("LOG_REGRESSED", "The log lost its end.");
    const contents = { holdsLost: true, held: { txId: 10, shared: 4 } };
    const old = await moveAside("old", "INDEX_CORRUPT");
    await expect(directory.moveAside(reason, contents)).rejects.toMatchObject({ code: "ENOENT" });
    await expect(directory.countOrphans()).resolves.toBe(0);
    await makeLive("lost");
    await directory.moveAside(reason, contents);
    await expect(directory.countOrphans()).resolves.toBe(6);
    expect(await readFile(path.join(old, "live", "CURRENT"), "utf8")).toBe("old");
  });

  it.each([["nothing"], ["an incomplete note", "why.json.new"]])(
    "counts no index for a folder in quarantine in which the power left %s",
    async (_, ...files) => {
      const begun = path.join(directory.layout.quarantine, "2020-01-01T00-00-00.000Z-index_corrupt");
      await mkdir(begun, { recursive: true });
      for (const file of files) await writeFile(path.join(begun, file), "");
      await expect(directory.readQuarantine()).resolves.toEqual([]);
    },
  );

  it("removes an unfinished restore", async () => {
    await mkdir(path.join(directory.layout.staging, "restore-1"), { recursive: true });
    await directory.sweep("staging");
    expect(await readdir(directory.path)).not.toContain("staging");
  });
});
