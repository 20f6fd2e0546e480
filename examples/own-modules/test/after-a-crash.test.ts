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
import { bytes, takeMessages, text } from "@cairn/node/testing";
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

/** Three headers and the payload "three". */
const LAST_FRAME_BYTES = 12 + 12 + 6 + 5;

const messagesFile = (): string => join(path, "messages");
const rowsFile = (): string => join(path, "rows.jsonl");
const put = (key: string) => ({ type: "put", key: bytes(key), value: bytes(key) }) as const;

async function openedLog(): Promise<TxLog> {
  const log = await openLog({ path });
  closing.push(() => log.close());
  return log;
}

async function openedStore(): Promise<KvStore> {
  const store = await createKv().open(path);
  closing.push(() => store.close());
  return store;
}

async function written(...messages: string[]): Promise<void> {
  const log = await openedLog();
  await log.create(() => bytes("birth"));
  for (const message of messages) await log.append(bytes(message));
  await log.close();
}

describe("the log in one file", () => {
  it("cuts off a frame that was not finished, wherever it was cut, and goes on behind the last whole one", async () => {
    await written("one", "two");
    const whole = await readFile(messagesFile());
    const log = await openedLog();
    await log.append(bytes("three".padEnd(60)));
    await log.close();
    const more = await readFile(messagesFile());
    const torn = Array.from({ length: more.length - whole.length }, (_, cut) =>
      more.subarray(0, whole.length + cut),
    );
    // A file can have its new length before it has all of its content.
    torn.push(Buffer.concat([more.subarray(0, -10), Buffer.alloc(10)]));
    for (const [index, content] of torn.entries()) {
      await writeFile(messagesFile(), content);
      const again = await openedLog();
      expect(await again.bounds()).toEqual({ first: 1, last: 3 });
      expect(await again.append(bytes("4"))).toEqual({ position: 4, duplicate: false });
      expect((await takeMessages(again, 2, 3)).map(text)).toEqual(["one", "two", "4"]);
      await again.close();
      // Each opening flushes its lock several times: all of them would wait for a busy disk for minutes.
      if (index % 10 !== 0 && index < torn.length - 1) continue;
      const later = await openedLog();
      expect(await later.bounds()).toEqual({ first: 1, last: 4 });
      expect((await takeMessages(later, 2, 3)).map(text)).toEqual(["one", "two", "4"]);
      await later.close();
    }
  });

  it("refuses what was damaged or cut off while it is open, instead of reading it for ever", async () => {
    await written("one", "two", "three");
    const log = await openedLog();
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

  it("refuses a log that is damaged before its last frame, wherever, instead of ending it there", async () => {
    await written("one", "two", "three");
    const whole = await readFile(messagesFile());
    // The last frame cannot be told from one that was being written.
    for (let at = 0; at < whole.length - LAST_FRAME_BYTES; at += 1) {
      await writeFile(messagesFile(), whole);
      await damage(messagesFile(), at);
      await expect(openLog({ path })).rejects.toMatchObject({ code: "LOG_GAP" });
      expect(await readFile(messagesFile())).toHaveLength(whole.length);
    }
  });

  it("finds any position among thousands", async () => {
    const log = await openedLog();
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

  it("is one process's at a time", async () => {
    await written("one");
    await openedLog();
    await expect(openLog({ path })).rejects.toMatchObject({ code: "INDEX_LOCKED" });
  });
});

describe("the sorted array", () => {
  it("has all of a batch or nothing of it, wherever its line was cut", async () => {
    const store = await openedStore();
    await store.batch([put("a")]);
    const { bytes: whole } = await store.stats();
    await store.batch([put("b"), put("c")]);
    const { bytes: more } = await store.stats();
    await store.close();
    for (let size = more - 1; size >= whole; size -= 1) {
      await truncate(rowsFile(), size);
      const again = await openedStore();
      expect(await again.get(bytes("a"))).toEqual(bytes("a"));
      expect(await again.getMany([bytes("b"), bytes("c")])).toEqual([undefined, undefined]);
      await again.close();
    }
  });

  it("goes on behind the last whole line", async () => {
    const store = await openedStore();
    await store.batch([put("a")]);
    await store.batch([put("b")]);
    await store.close();
    await truncate(rowsFile(), (await readFile(rowsFile())).length - 5);
    for (const key of ["c", "d"]) {
      const again = await openedStore();
      await again.batch([put(key)]);
      await again.close();
    }
    const keys = ["a", "b", "c", "d"].map((key) => bytes(key));
    expect(await (await openedStore()).getMany(keys)).toEqual([
      bytes("a"),
      undefined,
      bytes("c"),
      bytes("d"),
    ]);
  });

  it("refuses a file with a damaged line", async () => {
    const store = await openedStore();
    await store.batch([put("a")]);
    await store.batch([put("b")]);
    await store.close();
    await damage(rowsFile(), 40);
    await expect(createKv().open(path)).rejects.toMatchObject({ code: "INDEX_CORRUPT" });
  });

  it("refuses a directory that holds something else, and leaves it alone", async () => {
    await appendFile(join(path, "mine"), "x");
    await expect(createKv().open(path)).rejects.toMatchObject({ code: "INDEX_CORRUPT" });
    expect(await readdir(path)).toEqual(["mine"]);
  });

  it("makes its file smaller again by compacting", async () => {
    const store = await openedStore();
    for (let round = 0; round < 200; round += 1) await store.batch([put("a"), put("b")]);
    const { bytes: before } = await store.stats();
    await store.compact();
    await store.batch([put("c")]);
    expect((await store.stats()).bytes).toBeLessThan(before / 10);
    await store.close();
    expect(await (await openedStore()).get(bytes("c"))).toEqual(bytes("c"));
  });
});

describe("the folder of lives", () => {
  it("does not let a tag of a file's former life replace it", async () => {
    const store = createStore({ path });
    await store.create("lease.json", "1");
    const { tag = "" } = (await store.read("lease.json")) ?? {};
    await store.remove("lease.json");
    await store.create("lease.json", "1");
    expect(await store.replace("lease.json", "stolen", tag)).toBe(false);
    expect((await store.read("lease.json"))?.text).toBe("1");
  });

  it("does not let a tag of long ago replace it, although that generation's successor is gone", async () => {
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

  it("lets one of many nodes win each of many replacements", async () => {
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

  it("lists nothing of a process that died while it uploaded", async () => {
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

  it("does not look empty when its folder has gone", async () => {
    const store = createStore({ path });
    await store.create("a.json", "1");
    await rm(path, { recursive: true });
    await expect(store.list("")).rejects.toMatchObject({ code: "STORE_UNREACHABLE" });
    await expect(store.create("b.json", "1")).rejects.toMatchObject({ code: "STORE_UNREACHABLE" });
    await mkdir(path);
  });

  it("says which parameter it does not know, and that it needs a path", () => {
    expect(() => createStore({ path, bucket: "b" })).toThrow(/no parameter bucket/);
    expect(() => createStore({})).toThrow(/needs a path/);
  });
});
