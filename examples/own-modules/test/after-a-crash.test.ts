import {
  appendFile,
  mkdir,
  mkdtemp,
  open,
  readdir,
  readFile,
  rm,
  truncate,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import type { KvStore } from "@cairn/kv";
import type { TxLog } from "@cairn/node";
import { bytes, takeMessages, text } from "@cairn/engine/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createKv, createStore, openLog } from "../src/index.ts";

let path = "";
let closing: (() => Promise<void>)[] = [];
beforeEach(async () => {
  path = await mkdtemp(join(tmpdir(), "cairn-own-"));
});
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
  await rm(path, { recursive: true });
});

/** Changes one byte of a file. */
async function damage(file: string, at: number): Promise<void> {
  const handle = await open(file, "r+");
  const byte = Buffer.alloc(1);
  await handle.read(byte, 0, 1, at);
  await handle.write(Uint8Array.of((byte[0] ?? 0) ^ 0xff), 0, 1, at);
  await handle.close();
}

/** The bytes of three headers and of the payload "three". */
const LAST_FRAME_BYTES = 12 + 12 + 6 + 5;

const messagesFile = (): string => join(path, "messages");
const rowsFile = (): string => join(path, "rows.jsonl");
const put = (key: string) => ({ type: "put", key: bytes(key), value: bytes(key) }) as const;

async function openTestLog(): Promise<TxLog> {
  const log = await openLog({ path });
  closing.push(() => log.close());
  return log;
}

async function openTestStore(): Promise<KvStore> {
  const store = await createKv().open(path);
  closing.push(() => store.close());
  return store;
}

async function writeLog(...messages: string[]): Promise<void> {
  const log = await openTestLog();
  await log.create(() => bytes("birth"));
  for (const message of messages) await log.append(bytes(message));
  await log.close();
}

describe("the log in one file", () => {
  it(
    "truncates an unfinished frame, wherever it was cut, and continues after the last complete one",
    { tags: "rest/slow" },
    async () => {
      await writeLog("one", "two");
      const whole = await readFile(messagesFile());
      const log = await openTestLog();
      await log.append(bytes("three".padEnd(60)));
      await log.close();
      const more = await readFile(messagesFile());
      const torn = Array.from({ length: more.length - whole.length }, (_, cut) =>
        more.subarray(0, whole.length + cut),
      );
      // A file may get its new length before all of its content.
      torn.push(Buffer.concat([more.subarray(0, -10), Buffer.alloc(10)]));
      for (const [index, content] of torn.entries()) {
        await writeFile(messagesFile(), content);
        const again = await openTestLog();
        expect(await again.bounds()).toEqual({ first: 1, last: 3 });
        expect(await again.append(bytes("4"))).toEqual({ position: 4, duplicate: false });
        expect((await takeMessages(again, 2, 3)).map(text)).toEqual(["one", "two", "4"]);
        await again.close();
        // Each time it is opened, the log flushes its lock several times, which would take minutes for all cuts on a busy
        // disk.
        if (index % 10 !== 0 && index < torn.length - 1) continue;
        const later = await openTestLog();
        expect(await later.bounds()).toEqual({ first: 1, last: 4 });
        expect((await takeMessages(later, 2, 3)).map(text)).toEqual(["one", "two", "4"]);
        await later.close();
      }
    },
  );

  it("refuses to read a part that was damaged or truncated while it is open, instead of retrying forever", async () => {
    await writeLog("one", "two", "three");
    const log = await openTestLog();
    const { length } = await readFile(messagesFile());
    for (const change of [
      () => damage(messagesFile(), length - 1),
      () => truncate(messagesFile(), length - 2),
    ]) {
      await change();
      await expect(takeMessages(log, 2, 3)).rejects.toMatchObject({ code: "LOG_GAP" });
      await expect(log.fetch(4)).rejects.toMatchObject({ code: "LOG_GAP" });
    }
  });

  it(
    "refuses a log that is damaged anywhere before its last frame, instead of ending it there",
    { tags: "rest/slow" },
    async () => {
      await writeLog("one", "two", "three");
      const whole = await readFile(messagesFile());
      // A damaged last frame cannot be distinguished from an unfinished one.
      for (let at = 0; at < whole.length - LAST_FRAME_BYTES; at += 1) {
        await writeFile(messagesFile(), whole);
        await damage(messagesFile(), at);
        await expect(openLog({ path })).rejects.toMatchObject({ code: "LOG_GAP" });
        expect(await readFile(messagesFile())).toHaveLength(whole.length);
      }
    },
  );

  it("finds any position among thousands", async () => {
    const log = await openTestLog();
    await log.create(() => bytes("birth"));
    for (let round = 0; round < 20; round += 1) {
      await Promise.all(
        Array.from({ length: 100 }, (_, n) => log.append(bytes(`${round * 100 + n + 2}`.padEnd(200)))),
      );
    }
    for (const position of [2, 3, 500, 1_000, 1_500, 2_001]) {
      expect(Number(text(await log.fetch(position)))).toBe(position);
      expect((await takeMessages(log, position, 1))[0]?.position).toBe(position);
    }
  });

  it("can be open in only one process at a time", async () => {
    await writeLog("one");
    await openTestLog();
    await expect(openLog({ path })).rejects.toMatchObject({ code: "INDEX_LOCKED" });
  });
});

describe("the sorted array", () => {
  it("has either all or none of a batch, wherever its line was cut", async () => {
    const store = await openTestStore();
    await store.batch([put("a")]);
    const { bytes: whole } = await store.stats();
    await store.batch([put("b"), put("c")]);
    const { bytes: more } = await store.stats();
    await store.close();
    for (let size = more - 1; size >= whole; size -= 1) {
      await truncate(rowsFile(), size);
      const again = await openTestStore();
      expect(await again.get(bytes("a"))).toEqual(bytes("a"));
      expect(await again.getMany([bytes("b"), bytes("c")])).toEqual([undefined, undefined]);
      await again.close();
    }
  });

  it("continues after the last complete line", async () => {
    const store = await openTestStore();
    await store.batch([put("a")]);
    await store.batch([put("b")]);
    await store.close();
    await truncate(rowsFile(), (await readFile(rowsFile())).length - 5);
    for (const key of ["c", "d"]) {
      const again = await openTestStore();
      await again.batch([put(key)]);
      await again.close();
    }
    const keys = ["a", "b", "c", "d"].map((key) => bytes(key));
    expect(await (await openTestStore()).getMany(keys)).toEqual([
      bytes("a"),
      undefined,
      bytes("c"),
      bytes("d"),
    ]);
  });

  it("refuses a file with a damaged line", async () => {
    const store = await openTestStore();
    await store.batch([put("a")]);
    await store.batch([put("b")]);
    await store.close();
    await damage(rowsFile(), 40);
    await expect(createKv().open(path)).rejects.toMatchObject({ code: "INDEX_CORRUPT" });
  });

  it("refuses a directory that contains other files, and does not change it", async () => {
    await appendFile(join(path, "mine"), "x");
    await expect(createKv().open(path)).rejects.toMatchObject({ code: "INDEX_CORRUPT" });
    expect(await readdir(path)).toEqual(["mine"]);
  });

  it("has a smaller file after a compaction", async () => {
    const store = await openTestStore();
    for (let round = 0; round < 200; round += 1) await store.batch([put("a"), put("b")]);
    const { bytes: before } = await store.stats();
    await store.compact();
    await store.batch([put("c")]);
    expect((await store.stats()).bytes).toBeLessThan(before / 10);
    await store.close();
    expect(await (await openTestStore()).get(bytes("c"))).toEqual(bytes("c"));
  });
});

describe("the folder of lives", () => {
  it("does not replace a file by means of a tag from before the file was removed and created again", async () => {
    const store = createStore({ path });
    await store.create("lease.json", "1");
    const { tag = "" } = (await store.read("lease.json")) ?? {};
    await store.remove("lease.json");
    await store.create("lease.json", "1");
    expect(await store.replace("lease.json", "stolen", tag)).toBe(false);
    expect((await store.read("lease.json"))?.text).toBe("1");
  });

  it("does not replace a file by means of an old tag whose next generation has been removed", async () => {
    const store = createStore({ path });
    await store.create("lease.json", "0");
    const { tag: first = "" } = (await store.read("lease.json")) ?? {};
    let tag = first;
    for (let round = 1; round <= 110; round += 1) {
      const replaced = await store.replace("lease.json", String(round), tag);
      tag = replaced === false ? "" : replaced.tag;
    }
    expect(await store.replace("lease.json", "stolen", first)).toBe(false);
    expect(await store.read("lease.json")).toEqual({ text: "110", tag });
  });

  it("permits each replacement to exactly one of several processes", async () => {
    const stores = Array.from({ length: 6 }, () => createStore({ path }));
    await stores[0]?.create("count.json", "0");
    const won = await Promise.all(
      stores.map(async (store) => {
        let count = 0;
        for (let round = 0; round < 20; round += 1) {
          const current = await store.read("count.json");
          if (current === undefined) continue;
          if (await store.replace("count.json", String(Number(current.text) + 1), current.tag)) count += 1;
        }
        return count;
      }),
    );
    const total = won.reduce((sum, count) => sum + count, 0);
    expect((await stores[0]?.read("count.json"))?.text).toBe(String(total));
  });

  it("does not list a file whose upload is unfinished", async () => {
    const store = createStore({ path });
    let pushed = false;
    const content = new Readable({
      read() {
        if (!pushed) this.push("half");
        pushed = true;
      },
    });
    const uploading = store.upload("a.tar", content);
    await expect.poll(async () => await readdir(join(path, "drafts")).catch(() => [])).toHaveLength(1);
    expect(await createStore({ path }).list("")).toEqual([]);
    content.destroy(new Error("gone"));
    await expect(uploading).rejects.toThrow("gone");
    expect(await readdir(join(path, "drafts"))).toEqual([]);
  });

  it("does not look empty if its folder has disappeared", async () => {
    const store = createStore({ path });
    await store.create("a.json", "1");
    await rm(path, { recursive: true });
    await expect(store.list("")).rejects.toMatchObject({ code: "STORE_UNREACHABLE" });
    await expect(store.create("b.json", "1")).rejects.toMatchObject({ code: "STORE_UNREACHABLE" });
    await mkdir(path);
  });

  it("rejects an unknown parameter and a missing path", () => {
    expect(() => createStore({ path, bucket: "b" })).toThrow(/no parameter bucket/);
    expect(() => createStore({})).toThrow(/needs a path/);
  });
});
