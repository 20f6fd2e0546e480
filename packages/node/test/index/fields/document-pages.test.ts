import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { setImmediate } from "node:timers/promises";
import {
  CairnError,
  type KvOperation,
  type KvReader,
  type KvStore,
  levelProvider,
  memoryProvider,
} from "@cairn/kv";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bytesOf, documentPages } from "../../../src/index/fields/field-builds.ts";

let folder = "";
let counter = 0;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "cairn-pages-"));
});
afterAll(async () => await rm(folder, { recursive: true, force: true }));

const stores = {
  "as text": async () => await levelProvider().open(path.join(folder, String((counter += 1)))),
  "as bytes": async () => await memoryProvider().open("-"),
};

const hex = (part: Uint8Array): string => Buffer.from(part).toString("hex");

async function rowsIn(reader: KvReader, begin: { gte: Buffer } | { gt: Buffer }, lt: Buffer) {
  const found: string[] = [];
  for await (const page of documentPages(reader, begin, lt)) {
    for (const [key, value] of page) found.push(`${hex(bytesOf(key))}=${hex(bytesOf(value))}`);
  }
  return found;
}

/** Parts of neighboring keys, some of which are not UTF-8. */
const part = fc.constantFrom("61", "62", "00ff", "00", "efbfbd", "c3a9", "ff", "f09f9880");
const anyKey = fc.array(part, { maxLength: 5 }).map((parts) => Buffer.from(`63${parts.join("")}`, "hex"));

/** One key is not UTF-8. */
const valueOf = (one: Buffer): Buffer => Buffer.from(hex(one) === "6361" ? [0xc3] : `é${hex(one)}`);

const severalPages = (): KvOperation[] =>
  Array.from({ length: 5_000 }, (_row, n) => ({
    type: "put",
    key: Buffer.from(`c${String(n).padStart(6, "0")}`),
    value: Buffer.alloc(300, 0x20),
  }));

describe.each(Object.entries(stores))("pages of documents %s", (_, open) => {
  it("are the rows of the range, byte for byte, whatever their keys are", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(anyKey, { maxLength: 60, selector: hex }),
        fc.nat(59),
        fc.boolean(),
        async (keys, first, isIn) => {
          const kv: KvStore = await open();
          const sorted = keys.toSorted((a, b) => Buffer.compare(a, b));
          await kv.batch(keys.map((one) => ({ type: "put", key: one, value: valueOf(one) })));
          const from = sorted[first % Math.max(1, sorted.length)] ?? Buffer.from("c");
          const wanted = sorted
            .filter((one) => Buffer.compare(one, from) >= (isIn ? 0 : 1))
            .map((one) => `${hex(one)}=${hex(valueOf(one))}`);
          expect(await rowsIn(kv, isIn ? { gte: from } : { gt: from }, Buffer.from("d"))).toEqual(wanted);
          await kv.close();
        },
      ),
      { numRuns: 60 },
    );
  });

  it("are complete even if a few of thousands of rows are not UTF-8", async () => {
    const kv = await open();
    const rows = Array.from({ length: 5_000 }, (_row, n) => {
      const end = n % 1_700 === 0 ? "00ff" : n === 2_500 ? "efbfbd" : "";
      const key = Buffer.from(`63${Buffer.from(String(n).padStart(6, "0")).toString("hex")}${end}`, "hex");
      return { key, value: Buffer.alloc(300, n === 4_200 ? 0xff : 0x20) };
    });
    await kv.batch(rows.map((row) => ({ type: "put", ...row })));
    const found = await rowsIn(kv, { gte: Buffer.from("c") }, Buffer.from("d"));
    expect(found).toEqual(rows.map(({ key, value }) => `${hex(key)}=${hex(value)}`));
    await kv.close();
  });

  it("release the store's iterator when they are abandoned", async () => {
    const kv = await open();
    await kv.batch(severalPages());
    let left = 0;
    const watched = <Row>(pages: AsyncIterable<readonly Row[]>): AsyncIterable<readonly Row[]> => ({
      [Symbol.asyncIterator]() {
        const iterator = pages[Symbol.asyncIterator]();
        return {
          next: async () => await iterator.next(),
          return: async () => {
            left += 1;
            return (await iterator.return?.()) ?? { done: true, value: undefined };
          },
        };
      },
    });
    const texts = kv.rangeText?.bind(kv);
    const reader: KvReader = {
      get: (one) => kv.get(one),
      getMany: async (many) => await kv.getMany(many),
      range: (range) => watched(kv.range(range)),
      ...(texts && { rangeText: (range) => watched(texts(range)) }),
    };
    for await (const page of documentPages(reader, { gte: Buffer.from("c") }, Buffer.from("d"))) {
      expect(page.length).toBeGreaterThan(0);
      break;
    }
    expect(left).toBe(1);
    await kv.close();
  });

  it("fail with the store's error", async () => {
    const kv = await open();
    await kv.batch(severalPages());
    const pages = documentPages(kv, { gte: Buffer.from("c") }, Buffer.from("d"));
    await pages.next();
    await kv.close();
    const rest = async (): Promise<void> => {
      for await (const page of pages) expect(page.length).toBeGreaterThan(0);
    };
    await expect(rest()).rejects.toMatchObject({ code: "NOT_READY" });
  });
});

async function* onePage(): AsyncGenerator<[Uint8Array, Uint8Array][]> {
  yield [[Buffer.from("ca"), Buffer.from("1")]];
  throw new CairnError("DISK_FULL", "No space left.");
}

it("an error of the prefetched page is thrown when that page is requested", async () => {
  const reader: KvReader = { get: () => undefined, getMany: async () => [], range: onePage };
  const pages = documentPages(reader, { gte: Buffer.from("c") }, Buffer.from("d"));
  expect((await pages.next()).done).toBe(false);
  // By now, the prefetched page has failed, and nothing has requested it.
  await setImmediate();
  await expect(pages.next()).rejects.toMatchObject({ code: "DISK_FULL" });
});
