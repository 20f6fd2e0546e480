import { ClassicLevel } from "classic-level";
import { afterEach, describe, expect, it, vi } from "vitest";
import type { KvStore } from "../../src/store/kv-store.ts";
import { testDirectory } from "../support/test-directory.ts";

const directory = testDirectory();
const names = Array.from({ length: 2_000 }, (_, index) => `row ${index}`);

afterEach(() => vi.restoreAllMocks());

/** Returns a store whose reads seem to take a tenth of a second each. */
async function slowStore(): Promise<KvStore> {
  const store = await directory.open("store");
  await store.batch(
    names.map((name) => ({ type: "put", key: Buffer.from(name), value: Buffer.from(`value of ${name}`) })),
  );
  await store.compact();
  let time = 0;
  vi.spyOn(performance, "now").mockImplementation(() => (time += 100));
  return store;
}

/** Ways to read a row, each of which returns a string. */
const READS = {
  bytes: async (store: KvStore, name: string) => {
    const value = await store.get(Buffer.from(name));
    return value && Buffer.from(value).toString();
  },
  text: async (store: KvStore, name: string) => await store.getText?.(Buffer.from(name)),
};

describe.each(Object.entries(READS))("as %s,", (_, read) => {
  it("a store on a slow disk reads a few rows synchronously and all others on other threads, each for its caller", async () => {
    const store = await slowStore();
    const beside = vi.spyOn(ClassicLevel.prototype, "getMany");
    const here = vi.spyOn(ClassicLevel.prototype, "getSync");
    expect(await Promise.all(names.map((name) => read(store, name)))).toEqual(
      names.map((name) => `value of ${name}`),
    );
    expect(beside).toHaveBeenCalled();
    expect(here.mock.calls.length).toBeLessThan(names.length / 10);
    expect(await read(store, "nobody")).toBeUndefined();
  });

  it("when a store is closed, reads on other threads complete, and so do reads that wait for them", async () => {
    const store = await slowStore();
    const reads = Promise.all(names.map((name) => read(store, name)));
    const closing = store.close();
    await expect(read(store, "row 0")).rejects.toMatchObject({ code: "NOT_READY" });
    await closing;
    expect(await reads).toEqual(names.map((name) => `value of ${name}`));
    await expect(read(store, "row 1")).rejects.toMatchObject({ code: "NOT_READY" });
  });
});
