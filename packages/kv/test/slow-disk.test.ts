import { ClassicLevel } from "classic-level";
import { afterEach, expect, it, vi } from "vitest";
import type { KvStore } from "../src/kv-store.ts";
import { testDirectory } from "./test-directory.ts";

const directory = testDirectory();
const names = Array.from({ length: 2_000 }, (_, index) => `row ${index}`);

afterEach(() => vi.restoreAllMocks());

/** A store whose reads take a tenth of a second each, as far as it can tell. */
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

async function readAll(store: KvStore): Promise<string[]> {
  const values = await Promise.all(names.map((name) => store.get(Buffer.from(name))));
  return values.map((value) => Buffer.from(value ?? []).toString());
}

it("a store on a slow disk reads a few rows at once and all others in other threads, each for who asked for it", async () => {
  const store = await slowStore();
  const beside = vi.spyOn(ClassicLevel.prototype, "getMany");
  const here = vi.spyOn(ClassicLevel.prototype, "getSync");
  expect(await readAll(store)).toEqual(names.map((name) => `value of ${name}`));
  expect(beside).toHaveBeenCalled();
  expect(here.mock.calls.length).toBeLessThan(names.length / 10);
  expect(await store.get(Buffer.from("nobody"))).toBeUndefined();
});

it("a store that closes answers what other threads read, and what waits for them", async () => {
  const store = await slowStore();
  const reads = readAll(store);
  await store.close();
  expect(await reads).toEqual(names.map((name) => `value of ${name}`));
  await expect(store.get(Buffer.from("row 1"))).rejects.toMatchObject({ code: "NOT_READY" });
});
