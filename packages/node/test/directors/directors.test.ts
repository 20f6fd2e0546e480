import {
  CairnClientError,
  type DirectorOptions,
  type Json,
  type QueueEntry,
  type QueuePolicy,
  CairnClient,
} from "@cairn/client";
import { directQueue, drainShard, type QueueAccess, queueAccess } from "@cairn/client/protocol";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { GiveUp } from "../../src/index.ts";
import { resolvable } from "@cairn/kv";
import { DirectorScene, names, OPEN, sharedNode } from "@cairn/test-support/nodes/director-scene";

const shared = sharedNode();
const PATIENT = { timeout: 60_000, interval: 20 };

async function allFinished(scene: DirectorScene): Promise<void> {
  await vi.waitFor(async () => expect(await scene.queue()).toMatchObject({ open: 0 }), PATIENT);
}

/** Returns a handler that counts how often it was called with each entry. */
function counting(handle: (entry: QueueEntry) => Promise<Json | void> | Json | void = () => undefined) {
  const calls = new Map<string, number>();
  return {
    calls,
    handle: async (entry: QueueEntry): Promise<Json | void> => {
      calls.set(entry.name, (calls.get(entry.name) ?? 0) + 1);
      return await handle(entry);
    },
  };
}

function once(entries: readonly string[]): Map<string, number> {
  return new Map(entries.map((name) => [name, 1]));
}

function byName(calls: ReadonlyMap<string, number>): Map<string, number> {
  return new Map([...calls].toSorted(([a], [b]) => Number(a.slice(1)) - Number(b.slice(1))));
}

/** Returns an access to a scene's node which does not answer while it is cut. */
function breakable(scene: DirectorScene) {
  const access = queueAccess(scene.node.client());
  let gate = { promise: Promise.resolve(), resolve: (): void => {} };
  const answer = async <T>(ask: () => Promise<T>, signal: AbortSignal): Promise<T> => {
    const aborted = resolvable();
    signal.addEventListener("abort", aborted.resolve, { once: true });
    await Promise.race([gate.promise, aborted.promise]);
    signal.throwIfAborted();
    return await ask();
  };
  const breaking: QueueAccess = {
    ...access,
    transact: (transaction, signal) => answer(() => access.transact(transaction, signal), signal),
    queue: (name, signal) => answer(() => access.queue(name, signal), signal),
  };
  return {
    access: breaking,
    cut: () => void (gate = resolvable()),
    mend: () => gate.resolve(),
  };
}

/** Enqueues more entries while a director handles some, and expects it to handle all of them in their order. */
async function inOrder(count: number): Promise<void> {
  await using scene = await shared.scene({ shards: 1, cap: 10_000, lease: "PT1M" });
  const all = names(count);
  let enqueued = 0;
  const more = async (howMany: number): Promise<void> => {
    const next = all.slice(enqueued, enqueued + howMany);
    enqueued += next.length;
    await scene.enqueue(next);
  };
  await more(300);
  const { calls, handle } = counting(() => more(2));
  const director = scene.node.client().direct(scene.name, { concurrency: 1, handle });
  await allFinished(scene);
  expect(calls.size).toBe(all.length);
  expect([...calls.keys()]).toEqual(all);
  await director.stop();
}

/** Enqueues entries while a director handles some over HTTP, and expects it to handle each of them once. */
async function onceOverHttp(count: number): Promise<void> {
  // On a busy machine, a short lease could end in the meantime.
  await using scene = await shared.scene({ shards: 8, cap: 100_000, lease: "PT1M" });
  const { calls, handle } = counting();
  const client = new CairnClient({ urls: scene.node.url ?? "" });
  const director = client.direct(scene.name, { concurrency: 16, handle });
  const all = names(count);
  const quarters = [0, 1, 2, 3].map((at) => all.filter((_, n) => n % 4 === at));
  await Promise.all(quarters.map((quarter) => scene.enqueue(quarter)));
  await allFinished(scene);
  expect(byName(calls)).toEqual(byName(once(all)));
  await director.stop();
}

describe("a director", () => {
  it("handles every entry once, those from before its start first and in their order, and finishes it", async () => {
    await using scene = await shared.scene({ lease: "PT1M" });
    const before = names(300);
    await scene.enqueue(before);
    const { calls, handle } = counting();
    const director = scene.node.client().direct(scene.name, { concurrency: 1, handle });
    await vi.waitFor(() => expect(calls.size).toBeGreaterThan(10), PATIENT);
    const after = names(300).map((name) => `e3${name.slice(1).padStart(3, "0")}`);
    await scene.enqueue(after);
    await allFinished(scene);
    expect([...calls.keys()].slice(0, 300)).toEqual(before);
    expect(byName(calls)).toEqual(byName(once([...before, ...after])));
    expect(await scene.document("e0")).toEqual({ state: "done" });
    await director.stop();
    expect((await scene.queue()).shards).toMatchObject([{ holder: null }]);
  });

  it("handles entries in the order of their creation while more are enqueued than it can handle", async () => {
    await inOrder(400);
  });

  it(
    "handles entries in their order even after more pages than it reads before it begins again",
    { tags: "rest/slow" },
    async () => {
      await inOrder(2_000);
    },
  );

  it(
    "handles older entries that are moved into its shard before it has handled all newer ones there",
    { tags: "rest/slow" },
    async () => {
      await using scene = await shared.scene({ shards: 2, cap: 2_000, lease: "PT1M" });
      const [older, newer] = [names(10), names(1_800, "f")];
      await scene.enqueue(older);
      await scene.enqueue(names(1_990, "d"), { state: "done" });
      await scene.enqueue(newer);
      await scene.transact(["claim", scene.name, 0, { as: "test" }]);
      let draining: Promise<unknown> | undefined;
      const drain = async (): Promise<unknown> => {
        const { signal } = new AbortController();
        const drained = { queue: scene.name, shard: 0, as: "test", leaseMs: 60_000, signal };
        return await drainShard(queueAccess(scene.node.client()), drained);
      };
      const { calls, handle } = counting(async () => {
        if (calls.size === 200) draining = drain();
        // On a busy machine, the drain could take longer than all other entries.
        if (calls.size > 400) await draining;
      });
      const director = scene.node.client().direct(scene.name, { shards: 1, drainAt: false, handle });
      await allFinished(scene);
      await expect(draining).resolves.toMatchObject({ retired: true, moved: 10 });
      expect(byName(calls)).toEqual(byName(once([...older, ...newer])));
      expect([...calls.keys()].indexOf("e9")).toBeLessThan(1_500);
      await director.stop();
    },
  );

  it.each(["in the process of the node", "over HTTP"])(
    "hands an entry that was moved into its shard out with the transaction that created it, %s",
    async (where) => {
      await using scene = await shared.scene({ shards: 2, lease: "PT1M" });
      const { txId: older } = await scene.transact(["enqueue", scene.name, "e1", OPEN]);
      await scene.transact(["claim", scene.name, 0, { as: "test" }]);
      const created = new Map<string, number>();
      const options: DirectorOptions = {
        drainAt: false,
        handle: ({ name, createdTx }) => void created.set(name, createdTx),
      };
      const director =
        where === "over HTTP"
          ? new CairnClient({ urls: scene.node.url ?? "" }).direct(scene.name, options)
          : scene.node.client().direct(scene.name, options);
      await vi.waitFor(() => expect(director.shards).toEqual([1]), PATIENT);
      const { txId: newer } = await scene.transact(["put", scene.name, "1/f1", OPEN]);
      // Once it is finished, the director has nothing more to read, and learns of entries by its watch.
      await vi.waitFor(async () => expect(await scene.document("f1")).toEqual({ state: "done" }), PATIENT);
      const { signal } = new AbortController();
      const drained = { queue: scene.name, shard: 0, as: "test", leaseMs: 60_000, signal };
      await drainShard(queueAccess(scene.node.client()), drained);
      await allFinished(scene);
      expect(Object.fromEntries(created)).toEqual({ e1: older, f1: newer });
      await director.stop();
    },
  );

  it("reads a moved entry from no node that has not yet indexed the move", async () => {
    await using scene = await shared.scene({ shards: 2, lease: "PT1M" });
    await scene.enqueue(["e1"]);
    await scene.transact(["claim", scene.name, 0, { as: "test" }]);
    // A node waits with its response until it has indexed this transaction.
    let awaited = 0;
    const client = new CairnClient({
      urls: scene.node.url ?? "",
      fetch: async (input, init) => {
        const { pathname, searchParams } = new URL(input instanceof Request ? input.url : input);
        if (pathname.endsWith("/shards/1/open")) awaited = Number(searchParams.get("min-tx"));
        return await fetch(input, init);
      },
    });
    const seen = new Map<string, boolean>();
    const director = client.direct(scene.name, {
      drainAt: false,
      handle: ({ name, revision }) => void seen.set(name, awaited >= revision),
    });
    await vi.waitFor(() => expect(director.shards).toEqual([1]), PATIENT);
    await scene.transact(["put", scene.name, "1/f1", OPEN]);
    await vi.waitFor(async () => expect(await scene.document("f1")).toEqual({ state: "done" }), PATIENT);
    const { signal } = new AbortController();
    const drained = { queue: scene.name, shard: 0, as: "test", leaseMs: 60_000, signal };
    await drainShard(queueAccess(scene.node.client()), drained);
    await allFinished(scene);
    expect(seen.get("e1")).toBe(true);
    await director.stop();
  });

  it(
    "handles each entry once while others are enqueued, over HTTP as well",
    { tags: "rest/slow" },
    async () => {
      await onceOverHttp(1_000);
    },
  );

  it("handles each of thousands of entries once over HTTP", { tags: "rest/slow" }, async () => {
    await onceOverHttp(4_000);
  });

  it.concurrent.each<
    [what: string, handle: (entry: QueueEntry) => Json | void, document: unknown, attempts: number]
  >([
    ["returns nothing", () => undefined, { state: "done", n: 1 }, 1],
    ["returns a finished document", () => ({ state: "dead", by: "me" }), { state: "dead", by: "me" }, 1],
    [
      "returns an open document, and later a finished one",
      ({ document }) => ((document as { step?: number }).step === 2 ? undefined : { step: 2 }),
      { state: "done", step: 2 },
      2,
    ],
    [
      "throws, as often as the policy permits",
      () => {
        throw new Error("no");
      },
      { state: "dead", n: 1, retry: { attempts: 3, at: null, error: "no" } },
      3,
    ],
    [
      "gives up",
      () => {
        throw new GiveUp("never");
      },
      { state: "dead", n: 1, retry: { attempts: 1, at: null, error: "never" } },
      1,
    ],
    [
      "returns what cannot be stored",
      () => ({ n: 2 ** 60 }),
      { state: "dead", n: 1, retry: { attempts: 3, at: null, error: expect.any(String) as string } },
      3,
    ],
  ])("leads to a finished entry if the handler %s", async (_what, handler, document, attempts) => {
    await using scene = await shared.scene();
    await scene.enqueue(["e1"], { state: "new", n: 1 });
    const { calls, handle } = counting(handler);
    const director = scene.node.client().direct(scene.name, { handle });
    await allFinished(scene);
    expect(await scene.document("e1")).toEqual(document);
    expect(calls.get("e1")).toBe(attempts);
    await director.stop();
  });

  it(
    "tries a failed entry again after the pause, even if its director has changed",
    { tags: "rest/slow" },
    async () => {
      await using scene = await shared.scene({ retry: { first: 1_500, max: "PT1M" } });
      await scene.enqueue(["e1", "e2"]);
      let failed = 0;
      const first = scene.node.client().direct(scene.name, {
        handle: ({ name }) => {
          if (name === "e2") return;
          failed += 1;
          throw new Error("busy");
        },
      });
      await vi.waitFor(async () => expect(await scene.document("e1")).toHaveProperty("retry"), PATIENT);
      const { at } = ((await scene.document("e1")) as { retry: { at: string } }).retry;
      await first.stop();
      expect(failed).toBe(1);
      let handledAt = 0;
      const second = scene.node.client().direct(scene.name, { handle: () => void (handledAt = Date.now()) });
      await allFinished(scene);
      expect(handledAt).toBeGreaterThanOrEqual(Date.parse(at));
      expect(await scene.document("e1")).toEqual({
        state: "done",
        retry: { attempts: 1, at, error: "busy" },
      });
      await second.stop();
    },
  );

  it.each(["pt30s", "PT30,0S", "PT0.5m"])(
    "holds its shards under a lease that is written %s",
    async (lease) => {
      await using scene = await shared.scene({ lease });
      const { txId } = await scene.enqueue(names(3));
      const { calls, handle } = counting();
      const director = scene.node.client().direct(scene.name, { handle });
      await allFinished(scene);
      const [shard] = (await scene.queue()).shards;
      // It was claimed once, and not over and over.
      expect([calls, shard?.epoch]).toEqual([once(names(3)), txId + 1]);
      await director.stop();
    },
  );

  it("pauses for as long as the policy says, in lower case and with a comma as well", async () => {
    await using scene = await shared.scene({ retry: { first: "PT1,5H", max: "pt2h" } });
    await scene.enqueue(["e1"]);
    let failedAt = NaN;
    const director = scene.node.client().direct(scene.name, {
      handle: () => {
        failedAt = Date.now();
        throw new Error("busy");
      },
    });
    await vi.waitFor(async () => expect(await scene.document("e1")).toHaveProperty("retry"), PATIENT);
    const { at } = ((await scene.document("e1")) as { retry: { at: string } }).retry;
    const pauseMinutes = (Date.parse(at) - failedAt) / 60_000;
    expect(Math.round(pauseMinutes)).toBe(90);
    await director.stop();
  });

  it("tries a failed entry again at once if its pause is over before the attempt is written", async () => {
    const retry = { first: 1, max: 1, limit: 20, dead: { state: "dead" } };
    await using scene = await shared.scene({ retry, lease: "PT1M" });
    await scene.enqueue(["e1"]);
    const begunAt = performance.now();
    const director = scene.node.client().direct(scene.name, {
      handle: () => {
        throw new Error("busy");
      },
    });
    await allFinished(scene);
    expect(await scene.document("e1")).toMatchObject({ retry: { attempts: 20 } });
    // With pauses of a second, it would take at least 19 of them.
    expect(performance.now() - begunAt).toBeLessThan(15_000);
    await director.stop();
  });

  it("hands an open document out again after a second, whatever an earlier attempt left in it", async () => {
    await using scene = await shared.scene({ lease: "PT1M" });
    await scene.enqueue(["e1"]);
    const times: number[] = [];
    const director = scene.node.client().direct(scene.name, {
      handle: ({ document }) => {
        times.push(performance.now());
        if (times.length === 1) throw new Error("busy");
        return times.length === 2 ? document : undefined;
      },
    });
    await allFinished(scene);
    expect(times).toHaveLength(3);
    expect((times[2] ?? 0) - (times[1] ?? 0)).toBeGreaterThan(990);
    await director.stop();
  });

  it.concurrent.each<Partial<QueuePolicy>>([
    { lease: "PT1X" },
    { retry: { first: "PT1X" } },
    { retry: { max: 0 } },
  ])(
    "reports a duration of the policy that it cannot read, and claims nothing until it can: %j",
    async (unreadable) => {
      await using scene = await shared.scene();
      await scene.enqueue(["e1"]);
      const access = queueAccess(scene.node.client());
      let isNewer = true;
      const newer: QueueAccess = {
        ...access,
        queue: async (name, signal) => {
          const status = await access.queue(name, signal);
          return isNewer ? { ...status, policy: { ...status.policy, ...unreadable } } : status;
        },
      };
      const { calls, handle } = counting();
      const errors: string[] = [];
      const director = directQueue(newer, scene.name, {
        handle,
        onError: ({ message }) => errors.push(message),
      });
      await vi.waitFor(() => expect(errors).not.toEqual([]), PATIENT);
      expect(errors[0]).toMatch(
        /^This program cannot read the duration ("PT1X"|0) in the policy of the queue\.$/,
      );
      expect([director.shards, calls.size]).toEqual([[], 0]);
      isNewer = false;
      await allFinished(scene);
      await director.stop();
    },
  );

  it("gives back only idle shards, and those of one that stops are taken over", async () => {
    await using scene = await shared.scene({ shards: 4 });
    await scene.enqueue(names(40));
    let inHand = 0;
    const first = scene.node.client().direct(scene.name, {
      stopMs: 1,
      concurrency: 3,
      handle: () => {
        inHand += 1;
        return new Promise<void>(() => {});
      },
    });
    await vi.waitFor(() => expect([first.shards, inHand]).toEqual([[0, 1, 2], 3]), PATIENT);
    const second = scene.node.client().direct(scene.name, { handle: () => undefined });
    await vi.waitFor(() => expect(second.shards).toEqual([3]), PATIENT);
    await first.stop();
    await allFinished(scene);
    await second.stop();
  });

  it("gives idle shards back until each director has its share", async () => {
    await using scene = await shared.scene({ shards: 8 });
    await scene.enqueue(names(40));
    const start = () => scene.node.client().direct(scene.name, { handle: () => undefined, drainAt: false });
    const first = start();
    await vi.waitFor(() => expect(first.shards).toHaveLength(7), PATIENT);
    const second = start();
    await vi.waitFor(
      () => expect([first, second].map(({ shards }) => shards.length)).toEqual([4, 4]),
      PATIENT,
    );
    await Promise.all([first.stop(), second.stop()]);
    expect(await scene.queue()).toMatchObject({ open: 0 });
  });

  it("has a share of what was enqueued before, also if it comes when others hold all shards", async () => {
    await using scene = await shared.scene({ shards: 8, lease: "PT4S" });
    const all = names(400);
    await scene.enqueue(all);
    const gate = resolvable();
    const handled = new Map<number, Set<string>>();
    const start = (number: number) => {
      handled.set(number, new Set());
      return scene.node.client().direct(scene.name, {
        concurrency: 1,
        // No director handles much before each of them has begun.
        handle: async ({ name }) => {
          if (handled.get(number)?.add(name).size === 5) await gate.promise;
          if (handled.size === 4 && [...handled.values()].every(({ size }) => size > 0)) gate.resolve();
        },
      });
    };
    const first = start(0);
    await vi.waitFor(() => expect(first.shards).toHaveLength(7), PATIENT);
    const directors = [first, start(1), start(2), start(3)];
    await allFinished(scene);
    const counts = Array.from(handled.values(), ({ size }) => size);
    expect(Math.min(...counts)).toBeGreaterThan(0);
    expect(counts.reduce((sum, count) => sum + count)).toBe(all.length);
    // One shard is spare again, for the next director.
    await vi.waitFor(async () => {
      expect(await scene.queue()).toMatchObject({ spare: 1 });
      expect(directors.map(({ shards }) => shards.length).toSorted()).toEqual([1, 2, 2, 2]);
    }, PATIENT);
    await Promise.all(directors.map((one) => one.stop()));
  });

  it("gives a shard up by its own clock when no node answers, and writes nothing of it afterwards", async () => {
    await using scene = await shared.scene({ lease: 400 });
    await scene.enqueue(["e1"]);
    const { access: flaky, cut, mend } = breakable(scene);
    const held = resolvable();
    let seen: AbortSignal | undefined;
    const dropped: unknown[] = [];
    const director = directQueue(flaky, scene.name, {
      as: "cut off",
      handle: async (_entry, signal) => {
        seen = signal;
        await held.promise;
      },
      onError: (error, entry) => dropped.push([(error as CairnClientError).code, entry?.name]),
    });
    await vi.waitFor(() => expect(seen).toBeDefined(), PATIENT);
    cut();
    await vi.waitFor(() => expect([seen?.aborted, director.shards]).toEqual([true, []]), PATIENT);
    // On a busy machine, the other director's lease could end as well.
    await scene.configure({ lease: "PT1M" });
    const { calls, handle } = counting();
    const other = scene.node.client().direct(scene.name, { handle });
    await vi.waitFor(() => expect(calls.get("e1")).toBe(1), PATIENT);
    held.resolve();
    await vi.waitFor(() => expect(dropped).toEqual([["END_DROPPED", "e1"]]), PATIENT);
    mend();
    await allFinished(scene);
    expect(await scene.document("e1")).toEqual({ state: "done" });
    const { versions } = await scene.node.history({ bucket: scene.name, namespace: "0", name: "e1" });
    // The second one notes that another attempt begins.
    expect(versions).toHaveLength(3);
    await Promise.all([director.stop(), other.stop()]);
  });

  it("writes an end under a lease that has ended once a renewal shows that no other director has claimed the shard", async () => {
    await using scene = await shared.scene({ lease: 400 });
    await scene.enqueue(["e1"]);
    const { access, cut, mend } = breakable(scene);
    const { calls, handle } = counting(cut);
    const errors: string[] = [];
    const director = directQueue(access, scene.name, {
      handle,
      onError: ({ message }) => errors.push(message),
    });
    await vi.waitFor(() => expect(calls.get("e1")).toBe(1), PATIENT);
    await vi.waitFor(() => expect(director.shards).toEqual([]), PATIENT);
    expect(await scene.queue()).toMatchObject({ open: 1 });
    mend();
    await allFinished(scene);
    expect([calls, errors]).toEqual([once(["e1"]), []]);
    await director.stop();
  });

  it("drains a full shard once enough of it is finished, and moves what is open", async () => {
    await using scene = await shared.scene({ cap: 20, retry: { first: "PT1H", max: "PT1H" } });
    await scene.enqueue(names(20));
    const director = scene.node.client().direct(scene.name, {
      // All but those that fail, so that nothing is moved before its first attempt.
      drainAt: 0.75,
      handle: ({ name }) => {
        if (Number(name.slice(1)) % 4 === 0) throw new Error("later");
      },
    });
    await vi.waitFor(async () => {
      const { shards, open } = await scene.queue();
      expect(open).toBe(5);
      expect(shards.map(({ shard, entries }) => [shard, entries])).toEqual([expect.anything(), [1, 5]]);
      expect(shards[0]).toMatchObject({ shard: 0, state: "retiring" });
    }, PATIENT);
    expect(await scene.document("e4")).toMatchObject({ retry: { attempts: 1 } });
    // Each transaction removes rows of the retired shard, until it is spare.
    await vi.waitFor(async () => {
      await scene.transact(["put", "other", "a", 1]);
      expect((await scene.queue()).shards.map(({ shard }) => shard)).toEqual([1]);
    }, PATIENT);
    await director.stop();
  });

  it("goes on with the other entries when one is evicted while it is in hand", async () => {
    await using scene = await shared.scene();
    await scene.enqueue(names(10));
    let isEvicted = false;
    const director = scene.node.client().direct(scene.name, {
      handle: async () => {
        if (!isEvicted) {
          isEvicted = true;
          await scene.transact(["evict", scene.name, "0/e0"]);
        }
      },
      concurrency: 10,
    });
    await allFinished(scene);
    expect(await scene.queue()).toMatchObject({ entries: 9, open: 0 });
    expect(await scene.document("e0")).toBeUndefined();
    await director.stop();
  });

  it("is stopped with its node, and aborts handlers that do not end in time, whose entries stay open", async () => {
    await using scene = await DirectorScene.start();
    await scene.enqueue(names(3));
    let started = 0;
    const aborted: boolean[] = [];
    const director = scene.node.client().direct(scene.name, {
      stopMs: 200,
      handle: async (_entry, signal) => {
        started += 1;
        await new Promise<void>((resolve) =>
          signal.addEventListener("abort", () => resolve(), { once: true }),
        );
        aborted.push(signal.aborted);
      },
    });
    await vi.waitFor(() => expect(started).toBe(3), PATIENT);
    await director.stop();
    await vi.waitFor(() => expect(aborted).toEqual([true, true, true]), PATIENT);
    expect(await scene.queue()).toMatchObject({ open: 3, shards: [{ holder: null }] });
    const last = scene.node.client().direct(scene.name, { handle: () => undefined });
    await scene.node.close();
    await last.done;
    expect(() => scene.node.client().direct(scene.name, { handle: () => undefined })).toThrow(/was closed/);
  });

  it(
    "keeps its shards while it waits for handlers to stop, but takes neither entries nor shards",
    { tags: "rest/slow" },
    async () => {
      await using scene = await shared.scene({ shards: 8, lease: "PT2S" });
      await scene.enqueue(["e1"]);
      const [taken, released] = [resolvable(), resolvable()];
      let seen: AbortSignal | undefined;
      const calls: string[] = [];
      const director = scene.node.client().direct(scene.name, {
        stopMs: 60_000,
        handle: async ({ name }, signal) => {
          calls.push(name);
          seen = signal;
          taken.resolve();
          await released.promise;
        },
      });
      await taken.promise;
      const stopping = director.stop();
      const { txId: epoch } = await scene.transact(["claim", scene.name, 5, { as: "test" }]);
      await scene.transact(["release", scene.name, 5, epoch], ["put", scene.name, "0/e2", OPEN]);
      const shardOf = async (shard: number) =>
        (await scene.queue()).shards.find((one) => one.shard === shard);
      const until = async () => Date.parse((await shardOf(0))?.holder?.until ?? "");
      const first = await until();
      await vi.waitFor(
        async () => expect(seen?.aborted || (await until()) > first + 2_000).toBe(true),
        PATIENT,
      );
      expect(seen?.aborted).toBe(false);
      expect(await shardOf(0)).toMatchObject({ holder: { as: director.as } });
      expect(await shardOf(5)).toMatchObject({ holder: null });
      released.resolve();
      await stopping;
      expect([await scene.document("e1"), await scene.document("e2")]).toEqual([{ state: "done" }, OPEN]);
      expect(calls).toEqual(["e1"]);
      expect(await shardOf(0)).toMatchObject({ holder: null });
    },
  );

  it("says once that a bucket is no queue, to onError as well", async () => {
    await using scene = await shared.scene();
    for (const from of [scene.node.client(), new CairnClient({ urls: scene.node.url ?? "" })]) {
      const onError = vi.fn<(error: Error, entry?: unknown) => void>();
      const { done } = from.direct("pods", { handle: () => undefined, onError });
      const error: unknown = await done.catch((thrown: unknown) => thrown);
      expect(error).toMatchObject({ code: "NOT_FOUND" });
      expect(onError.mock.calls).toEqual([[error, undefined]]);
    }
  });

  it(
    "hands out what it does not remember, and forgets what it cannot hold",
    { tags: "rest/slow" },
    async () => {
      await using scene = await shared.scene({ cap: 100_000, lease: "PT1M" });
      const all = names(3_000);
      await scene.enqueue(all, { ...OPEN, text: "x".repeat(2_000) });
      const { calls, handle } = counting();
      const director = scene.node.client().direct(scene.name, { concurrency: 2, handle });
      await allFinished(scene);
      expect(byName(calls)).toEqual(byName(once(all)));
      await director.stop();
    },
  );
});

/** Returns a scene with an entry that a director had in hand when its process ended. */
async function abandoned(): Promise<DirectorScene> {
  const scene = await shared.scene({ lease: 1 });
  await scene.enqueue(["e1"]);
  await scene.transact(["claim", scene.name, 0, { as: "ended" }]);
  await scene.configure({ lease: "PT1M" });
  return scene;
}

async function noted(scene: DirectorScene): Promise<void> {
  const begun = { attempts: 0, begun: expect.any(String) as string };
  await vi.waitFor(async () => expect(await scene.document("e1")).toMatchObject({ retry: begun }), PATIENT);
}

describe("after a director has ended without giving its shard back", () => {
  it("the next one notes that an attempt begins, and takes that back with the answer", async () => {
    await using scene = await abandoned();
    const answered = resolvable();
    const director = scene.node.client().direct(scene.name, { handle: () => answered.promise });
    await noted(scene);
    answered.resolve();
    await allFinished(scene);
    expect(await scene.document("e1")).toEqual({ state: "done" });
    await director.stop();
  });

  it("the next one takes the note back when it is stopped before the handler ends", async () => {
    await using scene = await abandoned();
    const director = scene.node
      .client()
      .direct(scene.name, { stopMs: 1, handle: () => new Promise<void>(() => {}) });
    await noted(scene);
    await director.stop();
    expect(await scene.document("e1")).toEqual(OPEN);
  });

  it("the next one counts failures, and an answer ends the suspicion", async () => {
    await using scene = await abandoned();
    const seen: Json[] = [];
    const director = scene.node.client().direct(scene.name, {
      handle: ({ document }) => {
        seen.push(document);
        throw new Error("busy");
      },
    });
    await allFinished(scene);
    const retry = { attempts: 3, at: null, error: "busy" };
    expect(await scene.document("e1")).toEqual({ state: "dead", retry });
    const at = expect.any(String) as string;
    expect(seen).toEqual([
      OPEN,
      { ...OPEN, retry: { ...retry, attempts: 1, at } },
      { ...OPEN, retry: { ...retry, attempts: 2, at } },
    ]);
    await director.stop();
  });

  it(
    "suspects are handed out one at a time, and each attempt that is not answered counts",
    { tags: "rest/slow" },
    async () => {
      await using scene = await shared.scene({ lease: "PT1M" });
      const begun = new Date(0).toISOString();
      const suspect = (attempts: number) => ({ ...OPEN, retry: { attempts, at: begun, error: "?", begun } });
      await scene.enqueue(["e1", "e2"], suspect(0));
      await scene.enqueue(["e3"], suspect(3));
      await scene.enqueue(["f4", "f5"]);
      const answered = resolvable();
      const { calls, handle } = counting(() => answered.promise);
      const director = scene.node.client().direct(scene.name, { handle });
      await vi.waitFor(() => expect(byName(calls)).toEqual(once(["e1", "f4", "f5"])), PATIENT);
      expect(await scene.document("e1")).toMatchObject({ retry: { attempts: 1 } });
      answered.resolve();
      await allFinished(scene);
      expect(byName(calls)).toEqual(once(["e1", "e2", "f4", "f5"]));
      expect(await scene.document("e3")).toMatchObject({ state: "dead", retry: { attempts: 3, at: null } });
      await director.stop();
    },
  );
});

it("a handler that never ends keeps neither the other entries of its shard from being handled, nor the shard from being drained later", async () => {
  const retry = { first: 200, max: 200 };
  await using scene = await shared.scene({ cap: 10, lease: 400, retry });
  await scene.enqueue(names(10));
  const failed = new Set<string>();
  const director = scene.node.client().direct(scene.name, {
    stopMs: 1,
    handle: async ({ name }, signal) => {
      if (name === "e3") {
        await new Promise<void>((resolve) =>
          signal.addEventListener("abort", () => resolve(), { once: true }),
        );
      } else if (name === "e5" && failed.add(name).size === 1) {
        failed.add("once");
        throw new Error("later");
      }
    },
  });
  // The shard is full and mostly finished, but it cannot be drained while the entry is in hand.
  await vi.waitFor(async () => expect(await scene.queue()).toMatchObject({ open: 1 }), PATIENT);
  // On a busy machine the lease may end before the failure of `e5` is stored, which is then handled again at once.
  expect([await scene.document("e5"), failed]).toEqual([
    expect.objectContaining({ state: "done" }),
    new Set(["e5", "once"]),
  ]);
  await director.stop();
  const next = scene.node.client().direct(scene.name, { handle: () => undefined });
  await vi.waitFor(async () => {
    const { open, shards } = await scene.queue();
    expect([open, shards.some(({ shard, state }) => shard === 0 && state === "active")]).toEqual([0, false]);
  }, PATIENT);
  await next.stop();
});

it.each<[string, () => Json]>([
  [
    "throws",
    () => {
      throw new Error("not yet");
    },
  ],
  ["returns a document that is too large", () => ({ text: "x".repeat(9_000_000) })],
])(
  "an entry that is not a map is tried again after a pause, and not at once, if its handler %s",
  { tags: "rest/slow" },
  async (_, fail) => {
    await using scene = await shared.scene();
    await scene.enqueue(["e1"], "text");
    const times: number[] = [];
    const director = scene.node.client().direct(scene.name, {
      handle: () => {
        times.push(performance.now());
        return times.length < 3 ? fail() : { state: "done" };
      },
    });
    await allFinished(scene);
    expect(times).toHaveLength(3);
    expect((times[2] ?? 0) - (times[0] ?? 0)).toBeGreaterThan(1_900);
    await director.stop();
  },
);

/** Enqueues entries, several times more than fit into the shards, and expects directors to handle all of them. */
async function goThrough(count: number): Promise<void> {
  await using scene = await shared.scene({ shards: 4, cap: 20, lease: "PT2S" });
  const { calls, handle } = counting();
  const directors = [1, 2, 3].map(() => scene.node.client().direct(scene.name, { handle }));
  const all = names(count);
  let next = 0;
  const produce = async (): Promise<void> => {
    for (let name = all[next++]; name !== undefined;) {
      const { committed } = await scene.transact(["enqueue", scene.name, name, OPEN]);
      if (committed) name = all[next++];
    }
  };
  await Promise.all([produce(), produce()]);
  await allFinished(scene);
  expect(calls.size).toBe(count);
  await Promise.all(directors.map((director) => director.stop()));
}

it(
  "more entries than all shards hold together go through them, because directors drain what is finished",
  { tags: "rest/slow" },
  async () => {
    await goThrough(100);
  },
);

it("many more entries than all shards hold together go through them", { tags: "rest/slow" }, async () => {
  await goThrough(300);
});

it("handlers may listen to their signals, however many there are", async () => {
  await using scene = await shared.scene();
  await scene.enqueue(names(40));
  const warnings: string[] = [];
  const listen = ({ message }: Error): void => void warnings.push(message);
  process.on("warning", listen);
  onTestFinished(() => void process.off("warning", listen));
  let listening = 0;
  const all = resolvable();
  const director = scene.node.client().direct(scene.name, {
    concurrency: 40,
    handle: async (_entry, signal) => {
      signal.addEventListener("abort", () => {});
      listening += 1;
      if (listening === 40) all.resolve();
      await all.promise;
    },
  });
  await allFinished(scene);
  await director.stop();
  expect(warnings).toEqual([]);
});

it("an entry whose end a node refuses for good is handed out again", async () => {
  await using scene = await shared.scene();
  await scene.enqueue(["e1"]);
  const access = queueAccess(scene.node.client());
  let refusals = 0;
  const strict: QueueAccess = {
    ...access,
    transact: async (transaction, signal) => {
      if (refusals === 0 && transaction.ops.some(([op]) => op === "put")) {
        refusals += 1;
        throw new CairnClientError("FORBIDDEN", "This token may not write.");
      }
      return await access.transact(transaction, signal);
    },
  };
  const { calls, handle } = counting();
  const errors: unknown[] = [];
  const director = directQueue(strict, scene.name, {
    handle,
    onError: (error, entry) => errors.push([error, entry?.name]),
  });
  await allFinished(scene);
  expect([calls.get("e1"), errors]).toEqual([
    2,
    [
      [
        expect.objectContaining({
          code: "END_DROPPED",
          message: expect.stringContaining("may not write") as string,
        }),
        "e1",
      ],
    ],
  ]);
  await director.stop();
});

it.each(["WATCH_COMPACTED", "CONFLICT"])("a watch that is refused with %s is begun anew", async (code) => {
  await using scene = await shared.scene();
  const access = queueAccess(scene.node.client());
  let refusals = 0;
  const refusing: QueueAccess = {
    ...access,
    watch(...query) {
      refusals += 1;
      if (refusals === 1) throw Object.assign(new Error("The log has another end."), { code });
      return access.watch(...query);
    },
  };
  const { calls, handle } = counting();
  const director = directQueue(refusing, scene.name, { handle });
  await vi.waitFor(() => expect(refusals).toBe(2), PATIENT);
  await scene.enqueue(["e1"]);
  await allFinished(scene);
  expect(calls).toEqual(once(["e1"]));
  await director.stop();
});

describe("while a director reads pages of open entries", () => {
  /** What a director watches, which a test awaits or holds back. */
  interface Watched {
    upTo(txId: number): Promise<void>;
    holdUntil(released: Promise<void>): void;
  }

  /** Starts a director, and calls `beside` after each page, before the director gets it. */
  function readingBeside(scene: DirectorScene, beside: (page: number, watched: Watched) => Promise<void>) {
    const access = queueAccess(scene.node.client());
    let pages = 0;
    let seen = 0;
    let held = Promise.resolve();
    const watched: Watched = {
      upTo: async (txId) => await vi.waitFor(() => expect(seen).toBeGreaterThanOrEqual(txId), PATIENT),
      holdUntil: (released) => (held = released),
    };
    const observed: QueueAccess = {
      ...access,
      openEntries: async (query, signal) => {
        const page = await access.openEntries(query, signal);
        // A director also reads one entry to learn from where to watch.
        if (query.limit > 1) await beside((pages += 1), watched);
        return page;
      },
      watch: async function* (bucket, from, signal) {
        for await (const transaction of access.watch(bucket, from, signal)) {
          await held;
          yield transaction;
          seen = transaction.txId;
        }
      },
    };
    const { calls, handle } = counting();
    const director = directQueue(observed, scene.name, { handle, concurrency: 200 });
    return { calls, director, pagesRead: () => pages };
  }

  it("what is enqueued meanwhile is handed out without another page", async () => {
    await using scene = await shared.scene();
    await scene.enqueue(["e1"]);
    const { calls, director, pagesRead } = readingBeside(scene, async (_page, watched) => {
      if (await scene.document("e2")) return;
      const { txId } = await scene.transact(["enqueue", scene.name, "e2", OPEN]);
      await watched.upTo(txId);
    });
    await allFinished(scene);
    expect([byName(calls), pagesRead()]).toEqual([once(["e1", "e2"]), 1]);
    await director.stop();
  });

  it("what a later page contains, and is finished before the last one, is not handed out twice", async () => {
    await using scene = await shared.scene();
    await scene.enqueue(names(150));
    const end = resolvable();
    const { calls, director } = readingBeside(scene, async (page, watched) => {
      if (page === 1) {
        await scene.enqueue(names(100, "f"));
        const { txId } = await scene.transact(["enqueue", scene.name, "g1", OPEN]);
        await watched.upTo(txId);
        watched.holdUntil(end.promise);
      } else if (page === 3) {
        const isDone = { state: "done" };
        await vi.waitFor(async () => expect(await scene.document("f10")).toEqual(isDone), PATIENT);
        // When this one is indexed, the director knows of the earlier ones.
        await scene.transact(["put", "other", "a", 1]);
      }
    });
    await allFinished(scene);
    end.resolve();
    await director.stop();
    expect([...calls].filter(([, count]) => count !== 1)).toEqual([]);
    expect(calls.size).toBe(251);
  });
});
