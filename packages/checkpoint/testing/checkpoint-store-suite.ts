import { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import type { CheckpointStore } from "../src/index.ts";
import { MAX_SMALL_FILE_BYTES } from "../src/store/stored-files.ts";
import { checkpointCycleSuite } from "./checkpoint-cycle-suite.ts";
import { firstByte, storedRangesCases } from "./stored-ranges-cases.ts";

/** The store under test. */
export interface CheckpointStoreSuite {
  /** Creates a store to which nothing has been written, and removes it when the test ends. */
  readonly open: () => Promise<CheckpointStore>;
  /** Opens the same store again, as another node would. It is omitted for stores that cannot be shared. */
  readonly reopen?: (store: CheckpointStore) => Promise<CheckpointStore>;
  /**
   * Makes the store unreachable until the test ends: stops its service, or moves its folder away. Without it, the suite
   * cannot tell whether an unreachable store looks empty, which would make nodes forget their checkpoints.
   */
  readonly away?: (store: CheckpointStore) => Promise<void>;
  /** Whether the store can read ranges, so that it has `openRanges`. Defaults to false. */
  readonly hasRanges?: boolean;
}

/** A promise of {@link CheckpointStore}, and what throws within a test if a store breaks it. */
export interface CheckpointStoreCase {
  readonly title: string;
  readonly run: () => Promise<void>;
}

const BAD_NAMES = ["../a", "/a", "a/../b", "a/b/c", ".hidden", "a\\b", "a\0b", "", "a/", "a//b"];
const SIZES = [0, 1, 65_535, 65_536, 65_537, 3_000_000];

/** Tests the contract of {@link CheckpointStore}. */
export function checkpointStoreSuite(name: string, suite: CheckpointStoreSuite): void {
  checkpointCycleSuite(name, () => opened(suite.open));

  describe(`${name} fulfils the contract of a checkpoint store`, () => {
    test.each(checkpointStoreCases(suite))("$title", async ({ run }) => await run());
  });
}

async function opened(open: CheckpointStoreSuite["open"]): Promise<CheckpointStore> {
  const store = await open();
  onTestFinished(() => store.close());
  return store;
}

/** Returns the cases of the contract, so that broken stores can show that each promise is tested. */
export function checkpointStoreCases({
  open,
  reopen,
  away,
  hasRanges = false,
}: CheckpointStoreSuite): readonly CheckpointStoreCase[] {
  const cases: CheckpointStoreCase[] = [];
  const add = (title: string, run: () => Promise<void>): void => void cases.push({ title, run });
  add("a store to which nothing was written is listed as empty", async () => {
    expect(await (await opened(open)).list("")).toEqual([]);
  });

  for (const bytes of SIZES)
    add(`a file of ${bytes} bytes is read back as it was uploaded`, async () => {
      const store = await opened(open);
      const content = pattern(bytes);
      expect(await store.upload("a.tar", pieces(content))).toEqual({ bytes });
      expect((await collect(await store.open("a.tar"))).equals(content)).toBe(true);
      expect(await store.list("")).toMatchObject([{ name: "a.tar", bytes }]);
    });

  add(
    "files are listed in name order, by prefix, with folders, each with its time by the store's clock",
    async () => {
      const store = await opened(open);
      const before = await store.now();
      for (const file of ["b.json", "a-2.json", "a-10.json", "reservations/x.json"]) {
        expect(await store.create(file, "{}")).toBe(true);
      }
      const names = async (prefix: string): Promise<string[]> =>
        (await store.list(prefix)).map((file) => file.name);
      expect(await names("")).toEqual(["a-10.json", "a-2.json", "b.json", "reservations/x.json"]);
      expect(await names("a-")).toEqual(["a-10.json", "a-2.json"]);
      expect(await names("reservations/")).toEqual(["reservations/x.json"]);
      expect(await names("c")).toEqual([]);
      for (const file of await store.list("")) {
        expect(Math.abs(file.modifiedAt - before)).toBeLessThan(60_000);
      }
    },
  );

  add("an upload never overwrites a file", async () => {
    const store = await opened(open);
    await store.upload("a.tar", Readable.from([Buffer.from("first")]));
    await expect(store.upload("a.tar", Readable.from([Buffer.from("second")]))).rejects.toMatchObject({
      code: "CONFLICT",
    });
    expect(await text(await store.open("a.tar"))).toBe("first");
  });

  add("a file that is being uploaded is neither listed nor read", async () => {
    const store = await opened(open);
    const other = (await reopen?.(store)) ?? store;
    let [begin, end] = [(): void => undefined, (): void => undefined];
    const begun = new Promise<void>((resolve) => (begin = resolve));
    const ended = new Promise<void>((resolve) => (end = resolve));
    const content = async function* (): AsyncGenerator<Buffer> {
      yield pattern(100_000);
      begin();
      await ended;
      yield pattern(100_000);
    };
    const uploading = store.upload("a.tar", Readable.from(content(), { objectMode: false }));
    await Promise.race([begun, uploading]);
    expect(await other.list("")).toEqual([]);
    await expect(other.open("a.tar")).rejects.toMatchObject({ code: "NOT_FOUND" });
    expect(await other.read("a.tar")).toBeUndefined();
    end();
    expect(await uploading).toEqual({ bytes: 200_000 });
    expect(await other.list("")).toMatchObject([{ name: "a.tar", bytes: 200_000 }]);
  });

  add(
    "an upload whose content fails leaves nothing that is listed, and throws the content's error",
    async () => {
      const store = await opened(open);
      const failing = Readable.from(failAfter(pattern(200_000), new Error("the disk broke")));
      await expect(store.upload("a.tar", failing)).rejects.toThrow("the disk broke");
      expect(await store.list("")).toEqual([]);
    },
  );

  add("an upload whose content fails before it is read throws the content's error", async () => {
    const store = await opened(open);
    const content = new Readable({ read: () => undefined });
    const uploading = store.upload("a.tar", content);
    // Without a listener, the stream's error would end the process.
    content.destroy(new Error("the disk broke"));
    await expect(uploading).rejects.toThrow("the disk broke");
    expect(await store.list("")).toEqual([]);
  });

  add("an aborted upload ends with the signal's reason and leaves nothing that is listed", async () => {
    const store = await opened(open);
    const stop = new AbortController();
    let read = 0;
    const endless = new Readable({
      read() {
        read += 1;
        if (read === 1) this.push(pattern(100_000));
        else stop.abort(new Error("enough"));
      },
    });
    await expect(store.upload("a.tar", endless, { signal: stop.signal })).rejects.toThrow("enough");
    expect(await store.list("")).toEqual([]);
    expect(endless.destroyed).toBe(true);
  });

  add("opening a missing file throws NOT_FOUND, and reading it returns undefined", async () => {
    const store = await opened(open);
    await expect(store.open("a.tar")).rejects.toMatchObject({ code: "NOT_FOUND" });
    expect(await store.read("a.json")).toBeUndefined();
    await store.create("b.json", "{}");
    await expect(store.open("a.tar")).rejects.toMatchObject({ code: "NOT_FOUND" });
    expect(await store.read("a.json")).toBeUndefined();
  });

  add("a small file is created once, with its content in UTF-8", async () => {
    const store = await opened(open);
    expect(await store.create("a.json", '{"é": "✓"}')).toBe(true);
    expect(await store.create("a.json", "other")).toBe(false);
    expect((await store.read("a.json"))?.text).toBe('{"é": "✓"}');
  });

  add("a file that is too large for a small one is not read into memory", async () => {
    const store = await opened(open);
    const part = Buffer.alloc(1024 * 1024);
    const parts = function* (): Generator<Buffer> {
      for (let at = 0; at < MAX_SMALL_FILE_BYTES; at += part.length) yield part;
      yield Buffer.from("x");
    };
    await store.upload("a.json", Readable.from(parts(), { objectMode: false }));
    // The text itself would be part of the failure's message.
    const read = store.read("a.json").then((found) => found?.text.length);
    await expect(read).rejects.toMatchObject({ code: "CHECKPOINT_CORRUPT" });
  });

  add("a small file exists completely or not at all while it is being written", async () => {
    const store = await opened(open);
    const other = (await reopen?.(store)) ?? store;
    const whole = "x".repeat(4_000_000);
    for (let time = 0; time < 5; time++) {
      const written = vi.fn<(made: boolean) => void>();
      void store.create(`${time}.json`, whole).then(written);
      while (written.mock.calls.length === 0) {
        const found = await other.read(`${time}.json`);
        expect([undefined, whole.length]).toContain(found?.text.length);
      }
      expect(written).toHaveBeenCalledWith(true);
    }
  });

  add("a small file is replaced only with its current tag", async () => {
    const store = await opened(open);
    await store.create("a.json", "1");
    const first = (await store.read("a.json"))?.tag ?? "";
    const second = await store.replace("a.json", "2", first);
    expect(second).not.toBe(false);
    expect(await store.replace("a.json", "3", first)).toBe(false);
    expect(await store.read("a.json")).toEqual({ text: "2", tag: second === false ? "" : second.tag });
  });

  add("a small file that no longer exists is not replaced", async () => {
    const store = await opened(open);
    expect(await store.replace("a.json", "1", "tag")).toBe(false);
    await store.create("a.json", "1");
    const tag = (await store.read("a.json"))?.tag ?? "";
    await store.remove("a.json");
    expect(await store.replace("a.json", "2", tag)).toBe(false);
    expect(await store.list("")).toEqual([]);
  });

  add("removing a file that does not exist does nothing", async () => {
    const store = await opened(open);
    await store.remove("a.json");
    await store.remove("reservations/a.json");
    await store.create("a.json", "1");
    await store.create("reservations/a.json", "1");
    await store.remove("a.json");
    await store.remove("a.json");
    expect((await store.list("")).map((file) => file.name)).toEqual(["reservations/a.json"]);
    expect(await store.create("a.json", "2")).toBe(true);
  });

  for (const bad of BAD_NAMES)
    add(`the name ${JSON.stringify(bad)} is refused by every method`, async () => {
      const store = await opened(open);
      const refused = { code: "CHECKPOINT_CORRUPT" };
      await expect(store.upload(bad, Readable.from([Buffer.from("x")]))).rejects.toMatchObject(refused);
      await expect(store.open(bad)).rejects.toMatchObject(refused);
      if (hasRanges) await expect(firstByte(store, bad)).rejects.toMatchObject(refused);
      await expect(store.read(bad)).rejects.toMatchObject(refused);
      await expect(store.create(bad, "x")).rejects.toMatchObject(refused);
      await expect(store.replace(bad, "x", "tag")).rejects.toMatchObject(refused);
      await expect(store.remove(bad)).rejects.toMatchObject(refused);
      expect(await store.list("")).toEqual([]);
    });

  add("a stream can be destroyed early, or aborted", async () => {
    const store = await opened(open);
    await store.upload("a.tar", pieces(pattern(3_000_000)));
    const first = await store.open("a.tar");
    for await (const chunk of first) {
      expect(chunk.length).toBeGreaterThan(0);
      break;
    }
    expect(first.destroyed).toBe(true);
    const stop = new AbortController();
    const second = await store.open("a.tar", { signal: stop.signal });
    stop.abort();
    await expect(collect(second)).rejects.toThrow(/abort/i);
    expect((await collect(await store.open("a.tar"))).length).toBe(3_000_000);
  });

  add("the store's clock never goes backwards", async () => {
    const store = await opened(open);
    await store.create("a.json", "1");
    const first = await store.now();
    const second = await store.now();
    expect(second).toBeGreaterThanOrEqual(first);
  });

  add(
    "if the store is exclusive, exactly one of several concurrent creations of a file succeeds",
    async () => {
      const store = await opened(open);
      const others = await Promise.all(Array.from({ length: 8 }, () => reopen?.(store) ?? store));
      const won = await Promise.all(others.map((other, at) => other.create("a.json", `writer ${at}`)));
      if (store.exclusive) expect(won.filter(Boolean)).toHaveLength(1);
      const winner = won.findIndex(Boolean);
      if (store.exclusive) expect((await store.read("a.json"))?.text).toBe(`writer ${winner}`);
    },
  );

  add(
    "if the store is exclusive, exactly one of several concurrent replacements with the same tag succeeds",
    async () => {
      const store = await opened(open);
      await store.create("a.json", "0");
      const tag = (await store.read("a.json"))?.tag ?? "";
      const others = await Promise.all(Array.from({ length: 8 }, () => reopen?.(store) ?? store));
      const won = await Promise.all(others.map((other, at) => other.replace("a.json", `w${at}`, tag)));
      if (store.exclusive) expect(won.filter((one) => one !== false)).toHaveLength(1);
    },
  );

  add("a node sees the files that another node writes", async () => {
    const store = await opened(open);
    const other = (await reopen?.(store)) ?? store;
    await store.upload("a.tar", Readable.from([Buffer.from("content")]));
    await store.create("a.json", "1");
    expect((await other.list("")).map((file) => file.name)).toEqual(["a.json", "a.tar"]);
    expect(await text(await other.open("a.tar"))).toBe("content");
    await other.remove("a.json");
    expect(await store.read("a.json")).toBeUndefined();
  });

  add(`the store ${hasRanges ? "has" : "has no"} ranges, as its tests say`, async () => {
    expect((await opened(open)).openRanges !== undefined).toBe(hasRanges);
  });

  if (hasRanges) {
    const other = async (store: CheckpointStore): Promise<CheckpointStore> =>
      (await reopen?.(store)) ?? store;
    cases.push(...storedRangesCases(() => opened(open), other));
  }

  if (reopen !== undefined)
    add("closing a store does not affect its content", async () => {
      const store = await opened(open);
      await store.create("a.json", "1");
      await (await reopen(store)).close();
      expect((await store.read("a.json"))?.text).toBe("1");
    });

  if (away !== undefined)
    add("an unreachable store says so in every method, and never looks empty", async () => {
      const store = await opened(open);
      await store.create("a.json", "1");
      await store.upload("a.tar", Readable.from([Buffer.from("content")]));
      const tag = (await store.read("a.json"))?.tag ?? "";
      await store.list("");
      await away(store);
      const calls: Readonly<Record<string, () => Promise<unknown>>> = {
        list: () => store.list(""),
        "list without a match": () => store.list("c"),
        read: () => store.read("a.json"),
        "read a missing file": () => store.read("b.json"),
        open: () => store.open("a.tar"),
        "open a missing file": () => store.open("b.tar"),
        ...(hasRanges ? { "read a range": () => firstByte(store, "a.tar") } : {}),
        upload: () => store.upload("b.tar", Readable.from([Buffer.from("content")])),
        create: () => store.create("b.json", "1"),
        replace: () => store.replace("a.json", "2", tag),
        remove: () => store.remove("a.json"),
        "remove a missing file": () => store.remove("b.json"),
        now: () => store.now(),
      };
      const answers: [call: string, code: unknown][] = [];
      for (const [call, make] of Object.entries(calls)) {
        const answer = await make().then(
          () => "none",
          (error: { readonly code?: unknown }) => error.code,
        );
        answers.push([call, answer]);
      }
      expect(answers).toEqual(Object.keys(calls).map((call) => [call, "STORE_UNREACHABLE"]));
    });

  return cases;
}

function pattern(bytes: number): Buffer {
  const content = Buffer.alloc(bytes);
  for (let at = 0; at < bytes; at++) content[at] = (at * 31 + (at >> 8)) & 0xff;
  return content;
}

function pieces(content: Buffer): Readable {
  const parts: Buffer[] = [];
  for (let at = 0; at < content.length; at += 50_001) parts.push(content.subarray(at, at + 50_001));
  return Readable.from(parts, { objectMode: false });
}

async function* failAfter(content: Buffer, error: Error): AsyncGenerator<Buffer> {
  yield content;
  throw error;
}

async function collect(content: Readable): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of content) parts.push(Buffer.from(part));
  return Buffer.concat(parts);
}
