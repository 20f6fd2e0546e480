import { afterEach, expect, test, vi } from "vitest";
import { PointReads } from "../../src/level/point-reads.ts";

const bytes = (text: string): Uint8Array => Buffer.from(text);
const text = (value: Uint8Array | undefined): string | undefined =>
  value === undefined ? undefined : Buffer.from(value).toString();

/** Returns the row of a key; undefined if the key begins with "no". The row "broken" cannot be read. */
function rowOf(name: string): Uint8Array | undefined {
  if (name === "broken") throw new Error("unreadable");
  return name.startsWith("no") ? undefined : bytes(`value of ${name}`);
}

/**
 * Rows in memory. `slowMs` is the duration of each later read. `asked` contains the rows that were read on this thread.
 */
function rowsAtHand() {
  const time = vi.spyOn(performance, "now");
  const rows = { asked: [] as string[], many: [] as string[][], slowMs: 0.001, now: 1_000 };
  time.mockImplementation(() => rows.now);
  const reads = new PointReads({
    now(key) {
      rows.now += rows.slowMs;
      const name = text(key) ?? "";
      rows.asked.push(name);
      return rowOf(name);
    },
    async many(keys) {
      const names = keys.map((key) => text(key) ?? "");
      rows.many.push(names);
      return names.map(rowOf);
    },
  });
  return { reads, rows };
}

/** Rows on a slow disk. `answer` completes the oldest request that other threads have in flight. */
async function slowRows() {
  const asked: string[][] = [];
  const open: (() => void)[] = [];
  let time = 1_000;
  vi.spyOn(performance, "now").mockImplementation(() => time);
  const reads = new PointReads({
    now() {
      time += 100;
      return undefined;
    },
    async many(keys) {
      const names = keys.map((key) => text(key) ?? "");
      asked.push(names);
      await new Promise<void>((resolve) => {
        open.push(resolve);
      });
      return names.map(rowOf);
    },
  });
  await reads.get(bytes("the first one shows it"));
  await turn();
  return { asked, reads, answer: () => open.shift()?.() };
}

afterEach(() => vi.restoreAllMocks());

async function turn(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
}

test("a row in memory is read synchronously", async () => {
  const { reads, rows } = rowsAtHand();
  const got = reads.get(bytes("a"));
  expect(rows.asked).toEqual(["a"]);
  expect(text(await got)).toBe("value of a");
  expect(await reads.get(bytes("none"))).toBeUndefined();
  await expect(reads.get(bytes("broken"))).rejects.toThrow("unreadable");
  expect(rows.many).toEqual([]);
});

test("sequential reads yield to the event loop after 256 rows", async () => {
  const { reads, rows } = rowsAtHand();
  let turns = 0;
  const count = (): void => {
    turns += 1;
    if (rows.asked.length < 1_024) setImmediate(count);
  };
  setImmediate(count);
  for (let index = 0; index < 1_024; index++) {
    expect(text(await reads.get(bytes(`${index}`)))).toBe(`value of ${index}`);
  }
  expect(turns).toBeGreaterThanOrEqual(3);
  expect(rows.many).toEqual([]);
});

test("sequential reads of large rows yield to the event loop after 5 ms", async () => {
  const { reads, rows } = rowsAtHand();
  rows.slowMs = 0.2;
  const turns = [rows.now];
  const count = (): void => {
    turns.push(rows.now);
    if (rows.asked.length < 200) setImmediate(count);
  };
  setImmediate(count);
  for (let index = 0; index < 200; index++) {
    await reads.get(bytes(`${index}`));
    // The time that the caller spends on each row.
    rows.now += 0.3;
  }
  turns.push(rows.now);
  const gaps = turns.slice(1).map((at, index) => at - (turns[index] ?? 0));
  expect(Math.max(...gaps)).toBeLessThan(6);
  expect(rows.many).toEqual([]);
});

test("concurrent reads of large rows are limited per turn to as many as fit into 5 ms", async () => {
  const { reads, rows } = rowsAtHand();
  rows.slowMs = 0.2;
  const got = Promise.all(Array.from({ length: 60 }, (_, index) => reads.get(bytes(`${index}`))));
  for (const read of [25, 50, 60]) {
    expect(Math.abs(rows.asked.length - read)).toBeLessThanOrEqual(1);
    await turn();
  }
  expect((await got).map(text)).toEqual(Array.from({ length: 60 }, (_, index) => `value of ${index}`));
  expect(rows.many).toEqual([]);
});

test("many concurrent reads are performed in order, 256 per turn, and each returns its own row", async () => {
  const { reads, rows } = rowsAtHand();
  const names = Array.from({ length: 600 }, (_, index) => (index === 400 ? "broken" : `${index}`));
  const got = Promise.allSettled(names.map((name) => reads.get(bytes(name))));
  expect(rows.asked).toEqual(names.slice(0, 256));
  await turn();
  expect(rows.asked).toEqual(names.slice(0, 512));
  await turn();
  expect(rows.asked).toEqual(names);
  const ends = await got;
  expect(ends.map((end) => (end.status === "fulfilled" ? text(end.value) : "failed"))).toEqual(
    names.map((name) => (name === "broken" ? "failed" : `value of ${name}`)),
  );
});

test("once rows come from a disk, reads are passed to other threads until slow reads have taken a twentieth of the time", async () => {
  const { reads, rows } = rowsAtHand();
  rows.slowMs = 10;
  const begin = rows.now;
  for (const name of ["1", "2", "3"]) expect(text(await reads.get(bytes(name)))).toBe(`value of ${name}`);
  rows.slowMs = 0.001;
  // Three reads of 10 ms took 30 ms, of which the first 20 ms are free.
  rows.now = begin + 199;
  expect(text(await reads.get(bytes("a")))).toBe("value of a");
  expect(rows.asked).toEqual(["1", "2", "3"]);
  expect(rows.many).toEqual([["a"]]);
  rows.now = begin + 200;
  expect(text(await reads.get(bytes("b")))).toBe("value of b");
  expect(rows.asked).toEqual(["1", "2", "3", "b"]);
});

test("an occasional slow read, such as one during garbage collection, changes nothing", async () => {
  const { reads, rows } = rowsAtHand();
  for (let index = 0; index < 100; index++) {
    rows.slowMs = 3;
    await reads.get(bytes("slow"));
    rows.slowMs = 0.001;
    rows.now += 60;
    await reads.get(bytes("fast"));
  }
  expect(rows.many).toEqual([]);
});

test("a read that fails after a long wait for the disk also counts as slow", async () => {
  const { reads, rows } = rowsAtHand();
  rows.slowMs = 30;
  await expect(reads.get(bytes("broken"))).rejects.toThrow("unreadable");
  await reads.get(bytes("a"));
  expect(rows.many).toEqual([["a"]]);
});

test("concurrent reads of a slow disk are distributed to three threads, and each returns its own row", async () => {
  const { asked, reads, answer } = await slowRows();
  const got = Promise.all(["a", "none", "b", "c", "d"].map((key) => reads.get(bytes(key))));
  await turn();
  expect(asked).toEqual([["a", "none"], ["b", "c"], ["d"]]);
  for (const _ of asked) answer();
  expect((await got).map(text)).toEqual(["value of a", undefined, "value of b", "value of c", "value of d"]);
});

test("a read waits neither for one in flight nor for a later one", async () => {
  const { asked, reads } = await slowRows();
  void reads.get(bytes("slow"));
  await turn();
  void reads.get(bytes("next"));
  await turn();
  expect(asked).toEqual([["slow"], ["next"]]);
});

test("at most 3 requests of at most 32 rows are in flight, and all waiting reads are sent next", async () => {
  const { asked, reads, answer } = await slowRows();
  const got = Promise.all(Array.from({ length: 200 }, (_, index) => reads.get(bytes(`${index}`))));
  for (let answered = 0; answered < 7; answered++) {
    await turn();
    // The next request is sent in the turn after a result.
    await turn();
    expect(asked.length).toBe(Math.min(7, answered + 3));
    answer();
  }
  expect(asked.map((keys) => keys.length)).toEqual([32, 32, 32, 32, 32, 32, 8]);
  expect((await got).map(text)).toEqual(Array.from({ length: 200 }, (_, index) => `value of ${index}`));
});

test("an error is passed to the reads of the same request, and to no others", async () => {
  const { asked, reads, answer } = await slowRows();
  const names = ["broken", "beside", "c", "d", "e"];
  const got = Promise.allSettled(names.map((name) => reads.get(bytes(name))));
  await turn();
  expect(asked[0]).toEqual(["broken", "beside"]);
  for (const _ of asked) answer();
  const ends = (await got).map(({ status }) => status);
  expect(ends).toEqual(["rejected", "rejected", "fulfilled", "fulfilled", "fulfilled"]);
});

test("idle also waits for reads that have not been sent", async () => {
  const { reads, answer } = await slowRows();
  await reads.idle();
  const got = reads.get(bytes("a"));
  const order: string[] = [];
  const idle = reads.idle().then(() => order.push("idle"));
  await turn();
  expect(order).toEqual([]);
  answer();
  await Promise.all([Promise.resolve(got).then(() => order.push("answered")), idle]);
  expect(order).toEqual(["answered", "idle"]);
});
