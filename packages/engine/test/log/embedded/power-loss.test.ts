import { appendFile, cp, link, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openEmbeddedTxLog } from "../../../src/log/embedded/embedded-tx-log.ts";
import { keepAside } from "../../../src/log/embedded/cut-torn-writes.ts";
import { bytes } from "../../../testing/log-messages.ts";
import { openWith, PAGE, pagesBetween, type WrittenLog, without, writeLog } from "./torn-states.ts";

/**
 * Last groups, by the sizes of their messages: one that fits in one page, one that spans several pages, one that spans
 * several LevelDB blocks, and one with many messages.
 */
const LAST_GROUPS = [[60], [20_000], [100_000], Array.from({ length: 120 }, () => 300)] as const;

describe("an embedded log after a power loss during its last append", () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "cairn-log-"));
  });
  afterEach(() => rm(folder, { recursive: true }));

  const written = async (lastGroup: readonly number[]): Promise<WrittenLog & Ends> => {
    const log = await writeLog(folder, [[500], [3_000, 40], [...lastGroup]]);
    const [answered, all] = log.groups.slice(-2);
    if (answered === undefined || all === undefined) throw new Error("there are no groups");
    return { ...log, answered, all };
  };

  for (const sizes of LAST_GROUPS) {
    const what = `${sizes.length} messages, ${sizes[0]} bytes each`;

    it(`has every acknowledged message, wherever the file ends (${what})`, async () => {
      const { answered, all, ...log } = await written(sizes);
      const step = Math.max(1, Math.floor((all.bytes - answered.bytes) / 12));
      for (let end = answered.bytes; end < all.bytes; end += step) {
        const { last, notices } = await openWith(log, log.content.subarray(0, end));
        expect(last).toBe(answered.last);
        expect(notices).toHaveLength(end === answered.bytes ? 0 : 1);
      }
      expect(await openWith(log, log.content)).toEqual({ last: all.last, code: undefined, notices: [] });
    });

    it(
      `has every acknowledged message when a page is missing and later ones exist (${what})`,
      { tags: "rest/slow" },
      async () => {
        const { answered, all, ...log } = await written(sizes);
        for (const page of [PAGE, 512]) {
          const pages = pagesBetween(answered.bytes, all.bytes, page);
          const some = pages.filter((_, index) => index % Math.ceil(pages.length / 8) === 0 || index < 2);
          for (const [from, to] of [...some, ...pages.slice(-1)]) {
            const { last, notices } = await openWith(log, without(log.content, [from, to]));
            expect(last).toBe(answered.last);
            expect(notices).toEqual([
              expect.stringContaining(`ended in ${all.bytes - answered.bytes} bytes`),
            ]);
          }
        }
      },
    );
  }

  it("has every acknowledged message when a page reached the disk between two writes to it", async () => {
    const { answered, all, ...log } = await written([9_000]);
    for (const missing of [1, 5, 100, 300]) {
      expect((await openWith(log, without(log.content, [all.bytes - missing, all.bytes]))).last).toBe(
        answered.last,
      );
    }
  });

  it("has every acknowledged message when only every other page arrived, or only the last one", async () => {
    const { answered, all, ...log } = await written([100_000, 70_000]);
    const pages = pagesBetween(answered.bytes, all.bytes);
    for (const lost of [
      pages.filter((_, index) => index % 2 === 0),
      pages.filter((_, index) => index % 2 === 1),
      pages.slice(0, -1),
      pages,
    ]) {
      expect((await openWith(log, without(log.content, ...lost))).last).toBe(answered.last);
    }
  });

  it("keeps a copy of the bytes that it cuts off, and reports their size once", async () => {
    const { answered, all, ...log } = await written([20_000]);
    const content = without(log.content, [answered.bytes + 5_000, answered.bytes + 9_000]);
    await writeInto(log, content);
    const notices: string[] = [];
    for (let start = 0; start < 2; start += 1) {
      const opened = await openEmbeddedTxLog({ path: log.path, onNotice: (notice) => notices.push(notice) });
      expect(await opened.bounds()).toEqual({ first: 1, last: answered.last });
      await opened.close();
    }
    expect(notices).toHaveLength(1);
    expect(notices[0]).toContain(`ended in ${all.bytes - answered.bytes} bytes`);
    const [copy = ""] = await readdir(join(log.path, "torn"));
    expect(notices[0]).toContain(copy);
    expect(await readFile(join(log.path, "torn", copy))).toEqual(content.subarray(answered.bytes));
  });

  it("keeps its earlier copies while a further one cannot be written", async () => {
    const { path } = await written([1]);
    const kept = await keepAside(path, "kept", async (copy) => await writeFile(copy, "bytes"));
    for (let attempt = 0; attempt < 20; attempt += 1) {
      const failing = keepAside(path, "failed", () => Promise.reject(new Error("ENOSPC")));
      await expect(failing).rejects.toThrow("ENOSPC");
    }
    expect(await readdir(join(path, "torn"))).toEqual([basename(kept)]);
    for (let attempt = 0; attempt < 20; attempt += 1) {
      await keepAside(path, String(attempt + 10), async (copy) => await writeFile(copy, "bytes"));
    }
    const names = (await readdir(join(path, "torn"))).map((name) => name.slice(-2)).toSorted();
    expect(names).toEqual(Array.from({ length: 10 }, (_, n) => String(n + 20)));
  });

  it("has every acknowledged message when the removal of old messages was torn", async () => {
    const log = await openEmbeddedTxLog({ path: join(folder, "log") });
    await log.create(bytes);
    for (let n = 0; n < 3; n += 1)
      await Promise.all(Array.from({ length: 400 }, () => log.append(bytes(`${n}`))));
    const [wal = ""] = (await readdir(join(folder, "log"))).filter((name) => name.endsWith(".log"));
    const before = (await readFile(join(folder, "log", wal))).length;
    // Trimming ends with a compaction, which removes the write-ahead log.
    await link(join(folder, "log", wal), join(folder, "kept"));
    await log.trim?.(1_000);
    await log.close();
    const content = await readFile(join(folder, "kept"));
    expect(content.length).toBeGreaterThan(before);
    for (const page of pagesBetween(before, content.length)) {
      await rm(join(folder, "log"), { recursive: true });
      const again = await openEmbeddedTxLog({ path: join(folder, "log") });
      await again.create(bytes);
      await again.close();
      await writeInto({ path: join(folder, "log"), wal }, without(content, page));
      const opened = await openEmbeddedTxLog({ path: join(folder, "log") });
      expect((await opened.bounds()).last).toBe(1_201);
      await opened.close();
    }
  });
});

describe("an embedded log after a power loss while LevelDB wrote a table", () => {
  let folder: string;
  let path: string;
  let before: string;
  let manifest: string;
  /** Creates `before`, a copy of the folder before the table was written, and `path`, the folder after that. */
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "cairn-log-"));
    path = join(folder, "log");
    before = join(folder, "before");
    const log = await openEmbeddedTxLog({ path });
    await log.create(bytes);
    for (let n = 2; n <= 20; n += 1) await log.append(bytes(`${n}`));
    await cp(path, before, { recursive: true });
    // Removing messages ends with a compaction, which writes the rows in memory to a table.
    await log.trim?.(2);
    await log.close();
    manifest = (await readdir(path)).find((name) => name.startsWith("MANIFEST")) ?? "";
  });
  afterEach(() => rm(folder, { recursive: true }));

  it("has everything when the manifest names a table that did not arrive", async () => {
    await writeFile(join(before, manifest), await readFile(join(path, manifest)));
    const notices: string[] = [];
    const log = await openEmbeddedTxLog({ path: before, onNotice: (notice) => notices.push(notice) });
    expect(await log.bounds()).toEqual({ first: 1, last: 20 });
    expect(notices).toEqual([expect.stringMatching(/^MANIFEST-.*They held no message\./)]);
    await log.close();
  });

  it("has everything when the manifest grew and its new end did not arrive", async () => {
    const short = await readFile(join(before, manifest));
    const { length } = await readFile(join(path, manifest));
    expect(length).toBeGreaterThan(short.length);
    await writeFile(join(before, manifest), Buffer.concat([short, Buffer.alloc(length - short.length)]));
    const log = await openEmbeddedTxLog({ path: before });
    expect(await log.bounds()).toEqual({ first: 1, last: 20 });
    await log.close();
  });

  it("is reported as LOG_GAP when a table is missing and the files from which it was made no longer exist", async () => {
    const [table = ""] = (await readdir(path)).filter((name) => name.endsWith(".ldb"));
    await rm(join(path, table));
    const names = await readdir(path);
    await expect(openEmbeddedTxLog({ path })).rejects.toMatchObject({ code: "LOG_GAP" });
    expect((await readdir(path)).includes("torn")).toBe(names.includes("torn"));
  });
});

describe("an open embedded log", () => {
  it("is not cut off if it is opened a second time during a write", async () => {
    const folder = await mkdtemp(join(tmpdir(), "cairn-log-"));
    const path = join(folder, "log");
    const log = await openEmbeddedTxLog({ path });
    try {
      await log.create(bytes);
      const [wal = ""] = (await readdir(path)).filter((name) => name.endsWith(".log"));
      // The file looks as if the first page of a write had reached it.
      await appendFile(join(path, wal), Buffer.alloc(50));
      const { size } = await stat(join(path, wal));
      await expect(openEmbeddedTxLog({ path })).rejects.toMatchObject({ code: "INDEX_LOCKED" });
      expect((await stat(join(path, wal))).size).toBe(size);
    } finally {
      await log.close();
      await rm(folder, { recursive: true });
    }
  });
});

describe("an embedded log with damage that no power loss explains", () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "cairn-log-"));
  });
  afterEach(() => rm(folder, { recursive: true }));

  it("is reported as LOG_GAP, and left unchanged, with any page of an earlier group missing", async () => {
    const log = await writeLog(folder, [[20_000], [50, 60], [70_000], [400], [9_000]]);
    const beforeLast = log.groups.at(-2)?.bytes ?? 0;
    // The end of the last page belongs to the last group.
    for (const [from, to] of pagesBetween(0, beforeLast)) {
      expect((await openWith(log, without(log.content, [from, to]))).code).toBe("LOG_GAP");
      expect((await openWith(log, without(log.content, [from, from + PAGE]))).code).toBe("LOG_GAP");
    }
  });

  it("is reported as LOG_GAP when the lost page also contained the beginning of the last group", async () => {
    // The rest of the last group has no header: only its end shows that it did not begin where the intact groups end.
    const log = await writeLog(folder, [[2_000], [100], [100], [100], [9_000]]);
    const lost = pagesBetween(log.groups[1]?.bytes ?? 0, (log.groups[4]?.bytes ?? 0) + 1_000);
    expect((await openWith(log, without(log.content, ...lost))).code).toBe("LOG_GAP");
  });

  it("is reported as LOG_GAP with a page of an earlier group missing, even if the last append was also interrupted", async () => {
    const log = await writeLog(folder, [[20_000], [50], [9_000]]);
    const interrupted = log.content.subarray(0, log.content.length - 3_000);
    expect((await openWith(log, without(interrupted, [PAGE, 2 * PAGE]))).code).toBe("LOG_GAP");
  });

  it("is reported as LOG_GAP when the last group's length is changed so that the end of the file seems to cut it off", async () => {
    const log = await writeLog(folder, [[500], [400]]);
    const changed = Buffer.from(log.content);
    const length = (log.groups.at(-2)?.bytes ?? 0) + 5;
    changed.writeUInt8(changed.readUInt8(length) ^ 0x20, length);
    expect((await openWith(log, changed)).code).toBe("LOG_GAP");
  });

  it("is reported as LOG_GAP with a byte changed anywhere, even in the last group", async () => {
    const log = await writeLog(folder, [[500], [100, 20_000], [40_000]]);
    const { length } = log.content;
    const begin = log.groups.at(-2)?.bytes ?? 0;
    const places = [
      0,
      4,
      5,
      6,
      7,
      300,
      5_000,
      begin,
      begin + 4,
      begin + 5,
      begin + 6,
      begin + 30,
      length - 1,
    ];
    for (const at of [...places, ...pagesBetween(0, length).map(([from]) => from + 100)]) {
      const changed = Buffer.from(log.content);
      changed.writeUInt8(changed.readUInt8(at) ^ 0x41, at);
      expect([at, (await openWith(log, changed)).code]).toEqual([at, "LOG_GAP"]);
    }
  });
});

interface Ends {
  readonly answered: { readonly bytes: number; readonly last: number };
  readonly all: { readonly bytes: number; readonly last: number };
}

async function writeInto(log: Pick<WrittenLog, "path" | "wal">, content: Uint8Array): Promise<void> {
  await writeFile(join(log.path, log.wal), content);
}
