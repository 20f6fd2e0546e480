import { once } from "node:events";
import path from "node:path";
import { Readable } from "node:stream";
import { faultyStore, type ManualClock, manualClock, type StoreCall } from "@cairn/checkpoint/testing";
import { isCairnError } from "@cairn/kv";
import { BackupScene, noMemory } from "@cairn/test-support/nodes/backup-scene";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { BackupReader, type BackupReaderOptions } from "../../src/backup/backup-reader.ts";
import { pointerFile } from "../../src/backup/segments/segment-name.ts";
import { anchorOf } from "../../src/log/anchor.ts";
import { openEmbeddedTxLog } from "../../src/log/embedded/embedded-tx-log.ts";
import type { TxLog } from "../../src/log/tx-log.ts";
import { encodeBirthRecord } from "../../src/transactions/transaction-codec.ts";
import { takeMessages, text } from "../../testing/log-messages.ts";

const EVERY_MS = 60_000;
const HOURS = 3_600_000;

describe("a reader of a log's backup that looks once a minute", () => {
  let scene: BackupScene;
  let clock: ManualClock;
  let calls: StoreCall[];
  let stop: AbortController;
  let read: (string | undefined)[];
  let ended: Promise<unknown>;
  beforeEach(async () => {
    scene = await BackupScene.open();
    clock = manualClock(Date.now());
    calls = [];
    stop = new AbortController();
    read = [];
    await scene.look();
  });
  afterEach(async () => {
    stop.abort();
    await ended;
    await scene.close();
  });

  const asked = (method: StoreCall["method"]): string[] =>
    calls.filter((call) => call.method === method).map(({ name }) => name);

  /** Starts to follow the backup. `ended` resolves to the error with which that ends. */
  /** Awaited before each call to the store. */
  let held: ((call: StoreCall) => Promise<void>) | undefined;
  const follow = async (options: Partial<BackupReaderOptions> = {}): Promise<BackupReader> => {
    const store = faultyStore(scene.store, {
      fail: (call) => void calls.push(call),
      before: async (call) => await held?.(call),
    });
    const reader = new BackupReader({ store, every: EVERY_MS, clock, ...options });
    expect(await reader.exists()).toBe(true);
    const reading = async (): Promise<void> => {
      for await (const messages of reader.read(1, { signal: stop.signal })) read.push(...messages.map(text));
    };
    ended = reading().catch((error: unknown) => error);
    await isRead();
    return reader;
  };

  /** Waits until the reader has everything and waits for its next look. */
  const isRead = async (): Promise<void> => {
    await vi.waitFor(async () => {
      expect(read).toHaveLength((await scene.log.bounds()).last);
      // For its next look, and for the next search for a log that replaces its own.
      expect(clock.waits()).toHaveLength(2);
    });
  };

  const advance = async (ms = EVERY_MS): Promise<void> => {
    await vi.waitFor(() => expect(clock.waits()).toHaveLength(2));
    const before = asked("read").length;
    clock.advance(ms);
    await vi.waitFor(() => expect(asked("read").length).toBeGreaterThan(before));
  };

  it(
    "makes one request per look and one for each new segment, however often its last message is compared",
    { tags: "rest/slow" },
    async () => {
      const reader = await follow();
      calls = [];
      for (let n = 0; n < 30; n += 1) {
        await scene.append(`message ${n}`);
        await scene.look();
        clock.advance(EVERY_MS);
        // Others ask at the moment of the look.
        await reader.bounds();
        await isRead();
        for (let time = 0; time < 3; time += 1) {
          const { last } = await reader.bounds();
          expect(text(await reader.fetch(last))).toBe(`message ${n}`);
        }
      }
      expect(asked("open")).toEqual((await scene.segments()).slice(1).map(({ name }) => name));
      expect(asked("read")).toHaveLength(30);
      // It lists the backup after ten periods, and then less and less often.
      expect(asked("list").length).toBeLessThanOrEqual(2);
      expect(read).toEqual((await takeMessages(scene.log, 1, 31)).map(text));
    },
  );

  it("loads a segment once, even if its last message is compared while that takes long", async () => {
    const reader = await follow();
    await scene.append("new");
    await scene.look();
    const going = new AbortController();
    let isLoading = false;
    held = async ({ method }) => {
      if (method !== "open") return;
      isLoading = true;
      await once(going.signal, "abort");
    };
    await advance();
    await vi.waitFor(() => expect(isLoading).toBe(true));
    expect((await reader.bounds()).last).toBe(1);
    going.abort();
    await isRead();
    expect((await reader.bounds()).last).toBe(2);
    held = undefined;
  });

  /** Writes the backup of a log that continues the scene's. */
  const replace = async (replaced: readonly string[]): Promise<TxLog> => {
    const log = await openEmbeddedTxLog({ path: path.join(scene.folder, "next") });
    const { last } = await scene.log.bounds();
    const end = await scene.log.fetch(last);
    const anchor = { txId: last, sha256: end === undefined ? "" : anchorOf(end).sha256 };
    await log.create((id) =>
      encodeBirthRecord({ log: id, offset: last, continues: { log: scene.logId, anchor } }),
    );
    const of = { id: (await log.id()) ?? "", name: log.name, offset: last };
    await scene.look({ log, of, memory: noMemory(), replaced });
    await log.close();
    return log;
  };

  /** Waits until the reader has listed all logs, and found that another one replaces its own. */
  const leavesItsLog = async (): Promise<void> => {
    await vi.waitFor(() => {
      expect(asked("list")).toHaveLength(3);
      expect(clock.waits()).toHaveLength(2);
    });
    clock.advance(EVERY_MS);
    expect(await ended).toMatchObject({ code: "LOG_DIFFERENT" });
  };

  it("leaves its log as soon as the pointer says that another one replaces it", async () => {
    await follow();
    for (let n = 0; n < 5; n += 1) await advance();
    await replace([scene.logId]);
    await advance();
    await leavesItsLog();
  });

  it("finds a log that replaces its own within six hours even if no pointer says so", async () => {
    await follow();
    await replace([]);
    await advance();
    expect(await Promise.race([ended, Promise.resolve("reads")])).toBe("reads");
    await advance(6 * HOURS);
    await leavesItsLog();
  });

  it("lists the backup if the pointer takes back what it named", async () => {
    await scene.append("lost");
    await scene.look();
    const reader = await follow();
    expect((await reader.bounds()).last).toBe(2);
    const pointer = pointerFile(scene.logId);
    const [first, second] = await scene.segments();
    await scene.store.remove(second?.name ?? "");
    const { tag = "" } = (await scene.store.read(pointer)) ?? {};
    const { name, bytes, modifiedAt } = first ?? {};
    await scene.store.replace(pointer, JSON.stringify({ segments: [{ name, bytes, modifiedAt }] }), tag);
    await advance();
    await vi.waitFor(async () => expect((await reader.bounds()).last).toBe(1));
    // The message at its tip was of the removed segment.
    expect(await reader.fetch(2)).toBeUndefined();
  });

  it("finds a segment that fills a hole before it reads on behind the hole", async () => {
    await follow();
    await scene.append("one", "two");
    const [one, two] = await takeMessages(scene.log, 2, 2);
    if (one === undefined || two === undefined) throw new Error("the log holds them");
    const write = async (file: string, content: Buffer): Promise<void> =>
      void (await scene.store.upload(file, Readable.from([content])));
    const late = await scene.encode([one], undefined);
    const early = await scene.encode([two], anchorOf(one).sha256);
    await write(early.file, early.content);
    const pointer = pointerFile(scene.logId);
    const { tag = "" } = (await scene.store.read(pointer)) ?? {};
    const segments = (await scene.segments()).map(({ name, bytes, modifiedAt }) => ({
      name,
      bytes,
      modifiedAt,
    }));
    await scene.store.replace(pointer, JSON.stringify({ segments }), tag);
    await write(late.file, late.content);
    await advance();
    await isRead();
    expect(read.slice(1)).toEqual(["one", "two"]);
    expect(isCairnError(await Promise.race([ended, Promise.resolve()]))).toBe(false);
  });
});
