import { expect, it } from "vitest";
import { resolvable } from "@cairn/kv";
import { type FairReader, FairReads } from "../../src/watch/fair-reads.ts";

/** Reads, one at a time, each of which lasts until the test ends it. */
class HeldReads {
  readonly reads = new FairReads<string>(1);
  /** The keys, in the order in which they were read. */
  readonly begun: string[] = [];
  readonly #ends: (() => void)[] = [];

  ask(reader: FairReader, key: string): Promise<string | undefined> {
    return this.reads.read(reader, key, async () => {
      this.begun.push(key);
      const end = resolvable();
      this.#ends.push(end.resolve);
      await end.promise;
      return { answer: `${key} read` };
    });
  }

  /** Ends the current read, so that the next one begins. */
  async next(): Promise<void> {
    this.#ends.shift()?.();
    await new Promise(setImmediate);
  }
}

const served = (count: number): FairReader & { isGone: boolean } => ({
  served: count,
  isGone: false,
  stalledSince: undefined,
  drop: () => undefined,
});

it("a scheduler alternates between the reader that was served least and the one that has waited longest", async () => {
  const held = new HeldReads();
  const all = [
    held.ask(served(9), "first"),
    held.ask(served(9), "old 1"),
    held.ask(served(8), "old 2"),
    held.ask(served(9), "old 3"),
    held.ask(served(0), "new 1"),
    held.ask(served(0), "new 2"),
  ];
  while (held.begun.length < all.length) await held.next();
  await held.next();
  await Promise.all(all);
  expect(held.begun[0]).toBe("first");
  // Whichever kind of slot is next, both newcomers are served before the earlier readers are done.
  const { begun } = held;
  expect(begun.indexOf("new 2")).toBeLessThan(begun.indexOf("old 3"));
  expect(begun.indexOf("old 1")).toBeLessThan(4);
});

it("a scheduler shares one read among all requests made before it begins, and reads again for later ones", async () => {
  const held = new HeldReads();
  const readers = [served(0), served(0), served(0), served(0)] as const;
  const blocking = held.ask(readers[0], "other");
  const shared = [held.ask(readers[1], "page"), held.ask(readers[2], "page")];
  await held.next();
  const late = held.ask(readers[3], "page");
  await held.next();
  expect(await Promise.all(shared)).toEqual(["page read", "page read"]);
  await held.next();
  expect([await blocking, await late]).toEqual(["other read", "page read"]);
  expect(held.begun).toEqual(["other", "page", "page"]);
  expect(readers.map((reader) => reader.served)).toEqual([1, 1, 1, 1]);
});

it("a scheduler drops reads of readers that have left, unless another reader waits for the same read", async () => {
  const held = new HeldReads();
  const gone = served(0);
  const blocking = held.ask(served(0), "other");
  const alone = held.ask(gone, "his");
  const shared = [held.ask(gone, "ours"), held.ask(served(0), "ours")];
  gone.isGone = true;
  await held.next();
  await held.next();
  expect(await alone).toBeUndefined();
  expect((await Promise.all(shared)).at(-1)).toBe("ours read");
  await blocking;
  expect(held.begun).toEqual(["other", "ours"]);
});

it("a scheduler rejects all waiting requests with an error, and continues", async () => {
  const reads = new FairReads<string>(1);
  const failing = [1, 2].map(() => reads.read(served(0), "page", () => Promise.reject(new Error("damaged"))));
  for (const one of failing) await expect(one).rejects.toThrow("damaged");
  expect(await reads.read(served(0), "page", () => Promise.resolve({ answer: "fine" }))).toBe("fine");
});
