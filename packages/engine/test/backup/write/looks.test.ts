// @module-tag nats
import { readFile, rm, utimes, writeFile } from "node:fs/promises";
import { systemClock, CairnError } from "@cairn/kv";
import type { CheckpointStore } from "@cairn/checkpoint";
import {
  faultyStore,
  manualClock,
  type StoreCall,
  type StoreFaults,
  unreachable,
} from "@cairn/checkpoint/testing";
import { connect } from "nats";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type BackupLookOptions, lookAtBackup } from "../../../src/backup/write/backup-look.ts";
import type { BackupMemory } from "../../../src/backup/write/look-results.ts";
import { takeMessages, text } from "../../../testing/log-messages.ts";
import { put, trimScene } from "@cairn/test-support/nodes/trim-scene";
import { BackupScene, noMemory } from "@cairn/test-support/nodes/backup-scene";
import { backupTarget } from "@cairn/test-support/nodes/trimmed-backup";

const LEASE = "in-progress.json";

describe("a look at a log's backup", () => {
  let scene: BackupScene;
  let calls: string[];
  let faults: StoreFaults;
  let watched: CheckpointStore;
  beforeEach(async () => {
    scene = await BackupScene.open();
    calls = [];
    faults = {};
    watched = counted();
  });
  afterEach(() => scene.close());

  const counted = () =>
    faultyStore(scene.store, {
      before: async ({ method, name }) => {
        calls.push(name.endsWith(LEASE) ? `${method} lease` : method);
        await faults.before?.({ method, name, nth: 0 });
      },
      fail: (call) => faults.fail?.(call),
      failAfter: (call) => faults.failAfter?.(call),
    });
  const requests = async (
    options: { memory?: BackupMemory; forced?: boolean; every?: number } = {},
  ): Promise<string[]> => {
    calls = [];
    await scene.look({ store: watched, ...options });
    return calls;
  };
  const readAll = async (count: number): Promise<(string | undefined)[]> => {
    const backup = scene.backup();
    try {
      return (await takeMessages(backup, 1, count)).map(text);
    } finally {
      await backup.close();
    }
  };

  it(
    "removes merged segments several at a time, and none after a failure",
    { tags: "rest/slow" },
    async () => {
      for (let n = 0; n < 63; n += 1) {
        await scene.append(`message ${n}`);
        await scene.look();
      }
      await scene.append("the last one");
      let [removing, most, removed] = [0, 0, 0];
      let isFailing = true;
      const remove = async (name: string): Promise<void> => {
        if (name.endsWith(LEASE)) return await scene.store.remove(name);
        removing += 1;
        most = Math.max(most, removing);
        try {
          await new Promise(setImmediate);
          if (isFailing && removed >= 10) throw unreachable();
          await scene.store.remove(name);
          removed += 1;
        } finally {
          removing -= 1;
        }
      };
      const store = { ...scene.store, remove };
      const first = await scene.look({ store });
      expect(first.failure).toMatchObject({ code: "STORE_UNREACHABLE" });
      expect([first.removed.length, removing]).toEqual([removed, 0]);
      expect(removed).toBeLessThan(20);
      isFailing = false;
      const { covered, segments } = await scene.look({ store });
      expect({ covered, segments, most }).toEqual({
        covered: [{ first: 1, last: 65 }],
        segments: 1,
        most: 4,
      });
    },
  );

  it("reads the pointer if there is nothing to do, and lists the backup to write a segment", async () => {
    const writing = ["read", "read lease", "list", "create lease", "upload", "replace", "remove lease"];
    expect(await requests()).toEqual([
      "read",
      "list",
      "now",
      "create lease",
      "upload",
      "create",
      "remove lease",
    ]);
    expect(await requests()).toEqual(["read"]);
    await scene.append("one");
    // The store's clock is queried once an hour.
    expect(await requests()).toEqual(writing);
    await scene.append("two");
    expect(await requests({ forced: false })).toEqual(["read"]);
    expect(await requests()).toEqual(writing);
  });

  it(
    "learns from the pointer what other nodes wrote, and lists the backup before it writes, or reports a lost end",
    { tags: "rest/slow" },
    async () => {
      const other = noMemory();
      await requests();
      for (let n = 0; n < 40; n += 1) {
        await scene.append(`message ${n}`);
        await scene.look({ memory: other });
        if (n % 20 === 0) expect(await requests({ forced: false })).toEqual(["read"]);
      }
      // The pointer names 32 segments, and this node has seen all but the last 19.
      await scene.append("the last one");
      const seen = await scene.look({ store: watched, forced: false });
      expect(seen).toMatchObject({ skipped: "recent", covered: [{ first: 1, last: 41 }] });
      expect(seen.segments).toBe((await scene.segments()).length);
      // The end of the backup is removed, but the pointer still names it.
      const pointer = `log-${scene.logId}/newest.json`;
      for (const { name, last } of await scene.segments()) if (last > 30) await scene.store.remove(name);
      const held = await scene.store.read(pointer);
      await scene.store.replace(pointer, `${held?.text} `, held?.tag ?? "");
      const { written, covered } = await scene.look({ store: watched });
      expect({ written: written.length, covered }).toEqual({ written: 1, covered: [{ first: 1, last: 42 }] });
    },
  );

  it.each([
    "",
    "{}",
    "{",
    '{"segments":[null]}',
    '{"segments":[{"name":"log-x/1.segment","bytes":1,"modifiedAt":1}]}',
  ])("lists the backup if the pointer is %j, and writes the pointer", async (content) => {
    await requests();
    const pointer = `log-${scene.logId}/newest.json`;
    const { tag = "" } = (await scene.store.read(pointer)) ?? {};
    await scene.store.replace(pointer, content, tag);
    expect(await requests()).toEqual(["read", "list", "replace"]);
    expect(await requests()).toEqual(["read"]);
  });

  it(
    "lists a backup ever more rarely while its pointer proves right, but immediately if it is missing",
    { tags: "rest/slow" },
    async () => {
      const clock = manualClock(Date.now());
      const look = async (): Promise<string[]> => {
        calls = [];
        clock.advance(60_000);
        await scene.look({ store: watched, clock });
        return calls;
      };
      await look();
      const listed: number[] = [];
      for (let n = 1; n <= 1_440; n += 1) if ((await look()).includes("list")) listed.push(n);
      expect(listed).toEqual([10, 30, 70, 150, 310, 630, 990, 1_350]);
      await scene.store.remove(`log-${scene.logId}/newest.json`);
      expect(await look()).toEqual(["read", "list", "create"]);
      expect(await look()).toEqual(["read"]);
    },
  );

  it("names the end of a backup whose writer was stopped before it did, and lists the backup more often after that", async () => {
    const clock = manualClock(Date.now());
    const look = async (options: Partial<BackupLookOptions> = {}): Promise<string[]> => {
      calls = [];
      clock.advance(60_000);
      await scene.look({ store: watched, clock, ...options });
      return calls;
    };
    await look();
    for (let n = 0; n < 40; n += 1) await look();
    await scene.append("one");
    faults.before = async ({ method, name }) => {
      if (method === "replace" && name.endsWith("newest.json")) throw unreachable();
    };
    const stopped = await scene.look({ store: watched, clock, memory: noMemory() });
    expect([stopped.written.length, stopped.failure?.code]).toEqual([1, "STORE_UNREACHABLE"]);
    faults = {};
    expect(await look()).toEqual(["read", "read lease", "list", "replace"]);
    expect(await look()).toEqual(["read"]);
    const pointer = await scene.store.read(`log-${scene.logId}/newest.json`);
    for (const { name } of await scene.segments()) expect(pointer?.text).toContain(name);
  });

  it("leaves a backup to the node that is writing it without listing the backup, and takes over an old lease", async () => {
    await scene.look({ store: watched });
    const lease = `log-${scene.logId}/${LEASE}`;
    await scene.append("one");
    await scene.store.create(lease, "{}");
    expect(await requests()).toEqual(["read", "read lease"]);
    expect((await scene.look({ store: watched })).skipped).toBe("leased");
    const old = Date.now() / 1_000 - 120;
    await utimes(scene.pathOf(lease), old, old);
    expect((await scene.look({ store: watched })).written).toHaveLength(1);
  });

  it(
    "reads each segment once to merge 64 of them, and reads the result back before it removes them",
    { tags: "rest/slow" },
    async () => {
      for (let n = 0; n < 63; n += 1) {
        await scene.append(`message ${n}`);
        await scene.look({ store: watched });
      }
      await scene.append("the last one");
      const made = await requests();
      const counts = new Map<string, number>();
      for (const call of made) counts.set(call, (counts.get(call) ?? 0) + 1);
      expect(Object.fromEntries(counts)).toEqual({
        read: 1,
        "read lease": 1,
        list: 1,
        "create lease": 1,
        upload: 2,
        replace: 1,
        open: 65,
        remove: 64,
        "remove lease": 1,
      });
      expect(made.lastIndexOf("upload")).toBeLessThan(made.lastIndexOf("open"));
      expect(made.lastIndexOf("open")).toBeLessThan(made.indexOf("remove"));
      expect(await scene.segments()).toHaveLength(1);
    },
  );

  it(
    "knows the size of a segment that another node has just written, and merges the segment",
    { tags: "rest/slow" },
    async () => {
      faults.before = async ({ method }: StoreCall) => {
        // The other node has a longer name, so its segment is also longer.
        if (method !== "upload") return;
        await scene.store.remove(`log-${scene.logId}/${LEASE}`);
        await scene.look({ node: "another-node".repeat(20), memory: noMemory() });
      };
      const look = await scene.look({ store: counted() });
      expect(look.written.map(({ isNew }) => isNew)).toEqual([false]);
      const [stored] = await scene.segments();
      expect(look.written[0]?.bytes).toBe(stored?.bytes);
      faults = {};
      for (let n = 0; n < 70; n += 1) {
        await scene.append(`message ${n}`);
        await scene.look();
      }
      expect(scene.memory.damaged.size).toBe(0);
      expect((await scene.segments()).length).toBeLessThan(10);
    },
  );

  it("reports the written segments even if a merge failed", { tags: "rest/slow" }, async () => {
    for (let n = 0; n < 63; n += 1) {
      await scene.append(`message ${n}`);
      await scene.look();
    }
    await scene.append("the last one");
    faults.fail = ({ method, name }) =>
      method === "remove" && !name.endsWith(LEASE) ? unreachable() : undefined;
    const { covered, written, merged, failure } = await scene.look({ store: counted() });
    expect(covered).toEqual([{ first: 1, last: 65 }]);
    expect([written.length, merged.length, failure?.code]).toEqual([1, 1, "STORE_UNREACHABLE"]);
    faults = {};
    expect((await scene.look({ store: counted() })).removed).toHaveLength(64);
    expect(await readAll(65)).toHaveLength(65);
  });

  it("reports segments that were written before the store failed", async () => {
    const told: string[] = [];
    await scene.append("x".repeat(6_000_000), "y".repeat(6_000_000));
    let uploads = 0;
    faults.fail = ({ method }) => {
      if (method !== "upload") return undefined;
      uploads += 1;
      return uploads === 2 ? new CairnError("STORE_FULL", "The store is full.") : undefined;
    };
    await expect(
      scene.look({
        store: counted(),
        onWritten: ({ first, last }, kind) => told.push(`${kind} ${first}-${last}`),
      }),
    ).rejects.toMatchObject({ code: "STORE_FULL" });
    expect(told).toEqual(["written 1-2"]);
    expect(await scene.store.list(`log-${scene.logId}/${LEASE}`)).toEqual([]);
    faults = {};
    expect((await scene.look()).covered).toEqual([{ first: 1, last: 3 }]);
  });

  it(
    "skips a damaged segment, reports it until it is removed, and then writes it again",
    { tags: "rest/slow" },
    async () => {
      await scene.append("one");
      await scene.look();
      const [damaged] = await scene.segments();
      const place = scene.pathOf(damaged?.name ?? "");
      const whole = await readFile(place);
      const flipped = Buffer.from(whole);
      flipped.writeUInt8(flipped.readUInt8(300) ^ 1, 300);
      await writeFile(place, flipped);
      await scene.append("two");
      await scene.look();
      const read: unknown[] = [];
      const backup = scene.backup();
      const reading = (async () => {
        for await (const array of backup.read(1, { signal: new AbortController().signal })) {
          read.push(...array);
          break;
        }
      })();
      await expect(reading).rejects.toMatchObject({ code: "SEGMENT_CORRUPT" });
      expect(read).toEqual([]);
      // Messages in other segments remain readable.
      expect(text(await backup.fetch(3))).toBe("two");
      await backup.close();
      // The damage is detected when the segment is read for a merge.
      for (let n = 0; n < 70; n += 1) {
        await scene.append(`message ${n}`);
        await scene.look();
      }
      expect([...scene.memory.damaged.values()].map(({ message }) => message)).toEqual([
        expect.stringContaining(damaged?.name ?? "?"),
      ]);
      expect((await scene.look()).covered).toEqual([{ first: 3, last: 73 }]);
      await rm(place);
      const { covered, written } = await scene.look();
      expect(written.map(({ name }) => name)).toEqual([damaged?.name]);
      expect(covered).toEqual([{ first: 1, last: 73 }]);
      expect(scene.memory.damaged.size).toBe(0);
      expect(await readAll(73)).toHaveLength(73);
    },
  );

  it("reads a damaged segment's transactions from another one that holds them", async () => {
    await scene.append("one", "two");
    const messages = await takeMessages(scene.log, 1, 3);
    const { file, content } = await scene.encode(messages.slice(0, 2), undefined);
    await scene.look();
    await writeFile(scene.pathOf(file), content);
    const [longer] = await scene.segments();
    const place = scene.pathOf(longer?.name ?? "");
    await writeFile(place, (await readFile(place)).subarray(0, -1));
    const { removed } = await scene.look();
    expect(removed).toEqual([]);
    expect(await readAll(2)).toEqual(messages.slice(0, 2).map(text));
  });

  it("writes immediately if enough was applied, unless another node has written since", async () => {
    const clock = manualClock(Date.now());
    const since = clock.now();
    await scene.look({ clock });
    const [first] = await scene.segments();
    await utimes(scene.pathOf(first?.name ?? ""), (since - 1_000) / 1_000, (since - 1_000) / 1_000);
    await scene.append("one");
    expect((await scene.look({ clock, forced: false })).skipped).toBe("recent");
    expect((await scene.look({ clock, forced: false, muchSince: since - 60_000 })).skipped).toBe("recent");
    expect((await scene.look({ clock, forced: false, muchSince: since + 10_000 })).written).toHaveLength(1);
  });

  it("takes over a lease once its writer must be dead, and waits until then", async () => {
    await scene.look();
    await scene.append("one");
    const lease = `log-${scene.logId}/${LEASE}`;
    await scene.store.create(lease, "{}");
    expect((await scene.look()).skipped).toBe("leased");
    const old = Date.now() / 1_000 - 61;
    await utimes(scene.pathOf(lease), old, old);
    expect((await scene.look()).written).toHaveLength(1);
    expect(await scene.store.list(lease)).toEqual([]);
  });

  it("queries the store's time again if the machine's clock was set back by a day", async () => {
    const clock = manualClock(Date.now());
    await scene.look({ clock });
    await scene.append("one");
    clock.advance(-86_400_000);
    calls = [];
    await scene.look({ clock, store: counted() });
    expect(calls).toContain("now");
  });
});

it("a look backs up a stream whose description does not contain the log's id", async () => {
  const scene = await trimScene("nats");
  const node = await scene.start("first");
  await node.ready;
  await put(node, 0, 10);
  await node.close();
  const client = await connect({ servers: scene.natsUrl ?? "" });
  await (await client.jetstreamManager()).streams.update("cairn", { description: "ours" });
  await client.close();
  const log = await scene.openLog();
  try {
    expect(await log.id()).toBeUndefined();
    const target = await backupTarget(scene, log);
    const { written } = await lookAtBackup({
      ...target,
      every: 60_000,
      forced: true,
      memory: noMemory(),
      clock: systemClock,
    });
    expect(written.map(({ first, last }) => `${first}-${last}`)).toEqual(["1-11"]);
  } finally {
    await log.close();
  }
});
