import { expect, test } from "vitest";
import { GatheredReads } from "../src/gathered-reads.ts";

const bytes = (text: string): Uint8Array => Buffer.from(text);
const text = (value: Uint8Array | undefined): string | undefined =>
  value === undefined ? undefined : Buffer.from(value).toString();

/** Rows whose values say their keys; a key that begins with "no" has none. `answer` answers the oldest reading under way. */
function slowRows() {
  const asked: string[][] = [];
  const open: (() => void)[] = [];
  const readMany = async (keys: Uint8Array[]): Promise<(Uint8Array | undefined)[]> => {
    const names = keys.map((key) => Buffer.from(key).toString());
    asked.push(names);
    await new Promise<void>((resolve) => {
      open.push(resolve);
    });
    if (names.includes("broken")) throw new Error("unreadable");
    return names.map((name) => (name.startsWith("no") ? undefined : bytes(`value of ${name}`)));
  };
  return { asked, readMany, answer: () => open.shift()?.() };
}

async function turn(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
}

test("reads that come at once are shared out among three threads, and each gets its own row", async () => {
  const { asked, readMany, answer } = slowRows();
  const reads = new GatheredReads(readMany);
  const got = Promise.all(["a", "none", "b", "c", "d"].map((key) => reads.get(bytes(key))));
  await turn();
  expect(asked).toEqual([["a", "none"], ["b", "c"], ["d"]]);
  for (const _ of asked) answer();
  expect((await got).map(text)).toEqual(["value of a", undefined, "value of b", "value of c", "value of d"]);
});

test("a read waits neither for one that is under way nor for one that comes later", async () => {
  const { asked, readMany } = slowRows();
  const reads = new GatheredReads(readMany);
  void reads.get(bytes("slow"));
  await turn();
  void reads.get(bytes("next"));
  await turn();
  expect(asked).toEqual([["slow"], ["next"]]);
});

test("at most 3 readings are under way, of at most 32 rows, and all that wait come next", async () => {
  const { asked, readMany, answer } = slowRows();
  const reads = new GatheredReads(readMany);
  const got = Promise.all(Array.from({ length: 200 }, (_, index) => reads.get(bytes(`${index}`))));
  for (let answered = 0; answered < 7; answered++) {
    await turn();
    // What an answer makes room for is sent in the turn behind it.
    await turn();
    expect(asked.length).toBe(Math.min(7, answered + 3));
    answer();
  }
  expect(asked.map((keys) => keys.length)).toEqual([32, 32, 32, 32, 32, 32, 8]);
  expect((await got).map(text)).toEqual(Array.from({ length: 200 }, (_, index) => `value of ${index}`));
});

test("an error reaches those who were read together, and nobody else", async () => {
  const { asked, readMany, answer } = slowRows();
  const reads = new GatheredReads(readMany);
  const names = ["broken", "beside", "c", "d", "e"];
  const got = Promise.allSettled(names.map((name) => reads.get(bytes(name))));
  await turn();
  expect(asked[0]).toEqual(["broken", "beside"]);
  for (const _ of asked) answer();
  const ends = (await got).map(({ status }) => status);
  expect(ends).toEqual(["rejected", "rejected", "fulfilled", "fulfilled", "fulfilled"]);
});

test("idle waits for those that were not sent yet, too", async () => {
  const { readMany, answer } = slowRows();
  const reads = new GatheredReads(readMany);
  await reads.idle();
  const got = reads.get(bytes("a"));
  const order: string[] = [];
  const idle = reads.idle().then(() => order.push("idle"));
  await turn();
  expect(order).toEqual([]);
  answer();
  await Promise.all([got.then(() => order.push("answered")), idle]);
  expect(order).toEqual(["answered", "idle"]);
});
