import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from "vitest";
import { eventsMemory, type TransactionEvent } from "../../src/index/read/transaction-event.ts";
import { type FairReader, FairReads } from "../../src/watch/fair-reads.ts";
import { PageMemory } from "../../src/watch/page-memory.ts";
import type { WatchConnection, WatchEvent, WatchQuery } from "../../src/watch/watch-event.ts";
import { watch } from "../../src/watch/watch-session.ts";
import { range, readTo } from "@cairn/test-support/nodes/watch-reader";
import { madePosition } from "@cairn/test-support/nodes/positions";
import { fedWatchers } from "./fed-watchers.ts";

const LIMIT = 2;
const MAX_BYTES = 100_000;
const LARGEST_BYTES = 2 * MAX_BYTES;

interface Page {
  readonly transactions: readonly TransactionEvent[];
}

/** A page of one transaction, which occupies about `bytes`. */
function pageOf(bytes: number): Page {
  const key = { bucket: "pods", namespace: "default", name: "a" };
  const change = { op: "put" as const, ...key, revision: 2, json: "1".repeat(bytes / 2) };
  const at = { txId: 2, txTime: "2026-11-20T11:42:34.682Z", position: madePosition(2) };
  return { transactions: [{ type: "tx", ...at, changes: [change] }] };
}

class TestReader implements FairReader {
  served = 0;
  isGone = false;
  stalledSince: number | undefined = performance.now();
  isDropped = false;

  drop(): void {
    this.isDropped = true;
  }
}

/** Readers of pages, whose reads last until the test ends them. */
class Scene {
  readonly memory = new PageMemory(MAX_BYTES);
  readonly reads = new FairReads<Page>(LIMIT, this.memory);
  readonly held = new Map<TestReader, Page>();
  readonly #ends: (() => void)[] = [];
  /** What was held when each read began. */
  readonly heldAtBegin: number[] = [];
  answers = 0;
  asked = 0;

  get heldBytes(): number {
    return [...new Set(this.held.values())].reduce(
      (sum, { transactions }) => sum + eventsMemory(transactions),
      0,
    );
  }

  ask(key: string, bytes: number, fails: boolean): TestReader {
    const reader = new TestReader();
    this.asked += 1;
    const read = async (): Promise<{ answer: Page }> => {
      this.heldAtBegin.push(this.heldBytes);
      await new Promise<void>((resolve) => this.#ends.push(resolve));
      if (fails) throw new Error("damaged");
      return { answer: pageOf(bytes) };
    };
    void this.#await(reader, this.reads.read(reader, key, read));
    return reader;
  }

  async #await(reader: TestReader, answer: Promise<Page | undefined>): Promise<void> {
    try {
      const given = await answer;
      if (given !== undefined) this.held.set(reader, given);
    } catch {
      // A read that fails gives nothing that would be held.
    }
    this.answers += 1;
  }

  async endRead(): Promise<void> {
    this.#ends.shift()?.();
    await new Promise(setImmediate);
  }

  async release(reader: TestReader | undefined): Promise<void> {
    if (reader === undefined) return;
    this.held.delete(reader);
    this.memory.release(reader);
    await new Promise(setImmediate);
  }

  /** Everything that has begun ends, and everything that is held is released. */
  async settle(): Promise<void> {
    for (let left = 4 * this.asked; left > 0; left -= 1) {
      await this.endRead();
      await this.release([...this.held.keys()][0]);
    }
  }
}

describe("the memory for pages", () => {
  it("is never exceeded by more than the reads in progress, and serves everyone, whatever readers do", async () => {
    const step = fc.oneof(
      fc.record({
        do: fc.constant("ask" as const),
        key: fc.constantFrom("a", "b", "c", "d", "e"),
        bytes: fc.integer({ min: 1, max: LARGEST_BYTES - 2_000 }),
        fails: fc.boolean(),
      }),
      fc.record({ do: fc.constant("end" as const) }),
      fc.record({ do: fc.constantFrom("release" as const, "leave" as const), which: fc.nat(9) }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
        const scene = new Scene();
        const readers: TestReader[] = [];
        for (const one of steps) {
          if (one.do === "ask") readers.push(scene.ask(one.key, one.bytes, one.fails));
          else if (one.do === "end") await scene.endRead();
          else if (one.do === "release") await scene.release([...scene.held.keys()][one.which]);
          else {
            const reader = readers[one.which];
            if (reader !== undefined) reader.isGone = true;
            await scene.release(reader);
          }
          expect(scene.heldBytes).toBeLessThan(MAX_BYTES + LIMIT * LARGEST_BYTES);
        }
        await scene.settle();
        for (const held of scene.heldAtBegin) expect(held).toBeLessThan(MAX_BYTES);
        expect(scene.answers).toBe(scene.asked);
        expect(scene.memory.isFull).toBe(false);
      }),
      { numRuns: 200 },
    );
  });

  it("admits those that wait in the order of fair reads", async () => {
    const scene = new Scene();
    scene.ask("first", LARGEST_BYTES - 2_000, false);
    await scene.endRead();
    const waiting = ["a", "b", "c", "d"].map((key) => scene.ask(key, LARGEST_BYTES - 2_000, false));
    for (const reader of waiting.slice(0, 3)) reader.served = 5;
    await new Promise(setImmediate);
    const [first] = scene.held.keys();
    expect(scene.heldAtBegin).toHaveLength(1);
    await scene.release(first);
    await scene.endRead();
    await scene.endRead();
    // One slot is for the longest wait, and the other one for the reader that was served least.
    expect([...scene.held.keys()].map((reader) => waiting.indexOf(reader)).toSorted()).toEqual([0, 3]);
    await scene.settle();
    expect(scene.answers).toBe(scene.asked);
  });

  it("counts a page once, until the last of its readers has released it", () => {
    const memory = new PageMemory(MAX_BYTES);
    const shared = pageOf(MAX_BYTES);
    const [one, other] = [new TestReader(), new TestReader()];
    memory.hold(one, shared);
    memory.hold(other, shared);
    memory.hold(one, shared);
    memory.release(one);
    memory.release(one);
    expect(memory.isFull).toBe(true);
    memory.hold(other, pageOf(10));
    expect(memory.isFull).toBe(false);
  });
});

describe("full memory", () => {
  const fed = fedWatchers();
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ["setInterval", "clearInterval", "performance"] });
    // Each page fills it.
    fed.begin({}, new PageMemory(1));
    fed.append(2_000);
  });
  afterEach(() => vi.useRealTimers());

  interface Batches extends AsyncIterator<readonly WatchEvent[]> {
    readonly connection: WatchConnection & { stalledSince: number | undefined; isClosed: boolean };
  }

  /** Opens a watch over a connection that reads nothing since it was opened, and reads its first heartbeat. */
  async function open(query: WatchQuery = {}): Promise<Batches> {
    const connection = {
      stalledSince: performance.now() as number | undefined,
      isClosed: false,
      close: () => (connection.isClosed = true),
    };
    const watched = watch({ ...query, connection }, () => fed.feed).batches();
    const batches = watched[Symbol.asyncIterator]();
    onTestFinished(async () => void (await batches.return?.()));
    await batches.next();
    return Object.assign(batches, { connection });
  }

  /** Opens a watch that has been given a page, which it does not take. */
  async function stalled(): Promise<Batches> {
    const batches = await open({ from: madePosition(1) });
    await batches.next();
    expect(fed.source.pages.isFull).toBe(true);
    return batches;
  }

  it("makes lagging watchers wait, whereas live ones receive everything", async () => {
    const first = await stalled();
    const second = await open({ from: madePosition(2) });
    const page = second.next();
    await using live = fed.open();
    await live.next();
    const told = readTo(live, 2_011);
    await vi.waitFor(() => expect(fed.feed.watchers).toBe(1));
    const { length } = fed.source.reads;
    fed.append(10);
    expect(await told).toEqual({ ids: range(2_002, 2_011) });
    expect(fed.source.reads.slice(length)).toEqual([2_001]);
    // The events of the live watcher count until it asks for more.
    void live.next();
    void first.next();
    expect((await page).value).toMatchObject({ 0: { txId: 3 } });
  });

  it.each([
    ["is closed", async (first: Batches) => void (await first.return?.())],
    ["takes its page", async (first: Batches) => void first.next()],
  ])("is free for the next watcher once the one before it %s", async (_, end) => {
    const first = await stalled();
    const second = await open({ from: madePosition(2) });
    const page = second.next();
    await end(first);
    expect((await page).value).toMatchObject({ 0: { txId: 3 } });
  });

  it("is taken from a connection that takes nothing for 10 s, which is cut off as slow", async () => {
    const first = await stalled();
    const second = await open({ from: madePosition(2) });
    const page = second.next();
    await vi.advanceTimersByTimeAsync(9_000);
    expect([first.connection.isClosed, fed.listened]).not.toContain(true);
    await vi.advanceTimersByTimeAsync(1_500);
    expect(first.connection.isClosed).toBe(true);
    expect(fed.listened).toContain("cut off: slow");
    expect((await page).value).toMatchObject({ 0: { txId: 3 } });
    expect(await first.next()).toEqual({ done: true, value: undefined });
  });

  it("is taken at once from a live watcher that was cut off as slow and takes nothing more", async () => {
    fed.begin({ queue: { bytes: 20_000, batches: 100 } }, new PageMemory(1));
    fed.append(2_000);
    const slow = await open();
    await using fast = fed.open();
    await fast.next();
    const told = [slow.next(), readTo(fast, 2_002)];
    await vi.waitFor(() => expect(fed.feed.watchers).toBe(2));
    fed.append(1);
    await Promise.all(told);
    slow.connection.stalledSince = undefined;
    await vi.advanceTimersByTimeAsync(1_000);
    expect(slow.connection.isClosed).toBe(false);
    for (let last = 2_012; last < 2_400; last += 10) {
      fed.append(10, { bytes: 100 });
      await readTo(fast, last);
    }
    await vi.advanceTimersByTimeAsync(500);
    expect(slow.connection.isClosed).toBe(true);
    expect(fed.listened.filter((what) => what === "cut off: slow")).toHaveLength(1);
  });

  it("is left to a connection for which the node itself has not done its work, however long", async () => {
    const first = await stalled();
    first.connection.stalledSince = undefined;
    await vi.advanceTimersByTimeAsync(60_000);
    expect(first.connection.isClosed).toBe(false);
    expect(fed.source.pages.isFull).toBe(true);
  });

  it("does not end the watch of a program, which holds the page itself", async () => {
    await using program = fed.open({ from: madePosition(1) });
    expect(await readTo(program, 2)).toEqual({ ids: [2] });
    const second = await open({ from: madePosition(2) });
    const page = second.next();
    await vi.advanceTimersByTimeAsync(10_500);
    await page;
    await second.return?.();
    expect(await readTo(program, 2_001)).toEqual({ ids: range(3, 2_001) });
  });

  it("does not keep those that wait from learning that the feed has ended", async () => {
    await stalled();
    const second = await open({ from: madePosition(2) });
    const end = second.next();
    fed.feed.end({ reason: "stopping", message: "The node is stopping." });
    await vi.advanceTimersByTimeAsync(500);
    expect((await end).value).toMatchObject([{ type: "cutoff", txId: 2, reason: "stopping" }]);
  });

  it("does not keep those that wait from leaving", async () => {
    await stalled();
    const leave = new AbortController();
    const second = await open({ from: madePosition(2), signal: leave.signal });
    const end = second.next();
    leave.abort();
    await vi.advanceTimersByTimeAsync(500);
    expect(await end).toEqual({ done: true, value: undefined });
  });
});
