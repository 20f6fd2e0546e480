import { setImmediate } from "node:timers/promises";
import { expect, it } from "vitest";
import { bytes, numbered, put, rowsOf, text } from "./kv-rows.ts";
import type { KvStoreBench } from "./kv-store-bench.ts";

/** Tests concurrent readers and writers, as a part of the suite. */
export function kvConcurrencySuite(bench: KvStoreBench): void {
  it("serves 128 concurrent writers and 128 readers, none of which sees a partial batch", async () => {
    const store = await bench.open("store");
    const write = async (writer: number): Promise<void> => {
      for (let round = 0; round < 10; round++) {
        await store.batch([put(`left ${writer}`, `${round}`), put(`right ${writer}`, `${round}`)]);
      }
    };
    const read = async (writer: number): Promise<void> => {
      for (let round = 0; round < 10; round++) {
        const [left, right] = await store.getMany([bytes(`left ${writer}`), bytes(`right ${writer}`)]);
        expect(text(left)).toBe(text(right));
      }
    };
    const writers = Array.from({ length: 128 }, (_, index) => index);
    await Promise.all([...writers.map(write), ...writers.map(read)]);
    const rows = await rowsOf(store);
    expect(rows.length).toBe(256);
    expect(rows.every(([, value]) => value === "9")).toBe(true);
  });

  it("shows each read everything that was acknowledged before it, even during captures and compactions", async () => {
    const store = await bench.open("store");
    const last = 200;
    let acknowledged = 0;
    await store.batch([put("count", "0")]);
    const write = async (): Promise<void> => {
      for (let count = 1; count <= last; count++) {
        await store.batch([put("count", `${count}`), put(numbered(count), "x".repeat(1_000))]);
        acknowledged = count;
      }
    };
    const read = async (): Promise<void> => {
      for (let seen = 0; seen < last;) {
        const before = acknowledged;
        seen = Number(text(await store.get(bytes("count"))));
        expect(seen).toBeGreaterThanOrEqual(before);
        expect(text(await store.get(bytes(numbered(before))))).toBe(
          before === 0 ? undefined : "x".repeat(1_000),
        );
        // A store that returns values synchronously does not yield to the event loop, so its callers must.
        await setImmediate();
      }
    };
    const keep = async (): Promise<void> => {
      for (let round = 0; round < 5; round++) {
        await store.capture(bench.path(`capture ${round}`));
        await store.compact();
      }
    };
    await Promise.all([write(), read(), read(), keep()]);
  });
}
