import { expect, test, vi } from "vitest";
import { listCheckpoints } from "../../src/index.ts";
import type { CheckpointStore } from "../../src/index.ts";
import type { ManualClock } from "../../testing/index.ts";
import { HOUR, start, types } from "../support/bench.ts";
import { memoryStore } from "../../testing/index.ts";

const ROUND = ["begun", "taken", "sweep-begun", "swept"];

const thrown: [string, unknown][] = [
  ["a text", "no"],
  ["nothing", undefined],
  ["null", null],
  ["an object that cannot be converted to a string", Object.create(null)],
  ["a symbol", Symbol("odd")],
  ["an out-of-memory error", new RangeError("Array buffer allocation failed")],
];

test.each(thrown)("a store that throws %s makes only that round fail", async (_what, error) => {
  const memory = memoryStore();
  let fail = true;
  const store: CheckpointStore = {
    ...memory,
    list: (prefix) => (fail ? Promise.reject(error) : memory.list(prefix)),
  };
  const { checkpointer, events, look } = await start({ store });
  await look();
  expect(checkpointer.status().lastFailure?.code).toBe("INTERNAL");
  expect(checkpointer.status().nextCheckAt).not.toBeNull();
  fail = false;
  await look();
  expect(types(events)).toEqual(["begun", "failed", ...ROUND]);
});

test.each(["upload", "create", "replace", "read", "now", "remove"] as const)(
  "a store whose %s throws synchronously makes only that round fail",
  async (method) => {
    let time = Date.now;
    const memory = memoryStore({ now: () => time() });
    let fail = true;
    const store: CheckpointStore = {
      ...memory,
      [method]: (...args: Parameters<(typeof memory)[typeof method]>) => {
        if (fail) throw new RangeError("Maximum call stack size exceeded");
        return Reflect.apply(memory[method], memory, args);
      },
    };
    const { checkpointer, clock, source, look } = await start({ store });
    time = clock.now;
    await look();
    expect(checkpointer.status().lastFailure?.code).toBe("INTERNAL");
    expect(checkpointer.status().nextCheckAt).not.toBeNull();
    fail = false;
    source.txId += 1;
    // A lease that could not be removed may remain.
    await vi.waitFor(async () => {
      await look();
      expect(checkpointer.status().last).toMatchObject({ txId: source.txId });
    });
  },
);

test.each(["begun", "taken", "skipped", "sweep-begun", "swept"])(
  "an observer that throws at the event %s affects no checkpoint, and is reported",
  async (type) => {
    const observer = vi.fn<(event: { type: string }) => void>((event) => {
      if (event.type === type) throw new Error("a bug in the observer");
    });
    const { checkpointer, source, store, look } = await start({}, {}, observer);
    await look();
    await look();
    source.txId += 1;
    await look();
    const { checkpoints } = await listCheckpoints(store);
    expect(checkpoints.map(({ txId }) => txId)).toEqual([2, 1]);
    expect(checkpointer.status().lastFailure).toMatchObject({
      code: "INTERNAL",
      message: `An observer of the event ${type} failed: a bug in the observer`,
    });
    expect((checkpointer.status().nextCheckAt ?? 0) > 0).toBe(true);
  },
);

test("rounds that were missed while the process was suspended for days are dropped: one look follows, and the next a period later", async () => {
  const { clock, source, checkpointer, events, look } = await start();
  await look();
  source.txId += 1;
  const before = events.length;
  clock.advance(72 * HOUR);
  await vi.waitFor(() => expect(types(events.slice(before))).toContain("swept"));
  await vi.waitFor(() => expect(checkpointer.status().nextCheckAt).not.toBeNull());
  expect(types(events.slice(before))).toEqual(ROUND);
  expect(checkpointer.status().nextCheckAt).toBe(clock.now() + HOUR);
  expect(source.captures).toBe(2);
});

test("during a round that takes longer than a period, no other round starts, and missed rounds are not repeated", async () => {
  let sweeping: ManualClock | undefined;
  const { clock, source, checkpointer, events, look } = await start(
    {},
    {
      before: async ({ method, name }) => {
        if (method === "list" && name.startsWith("reservations")) sweeping?.advance(5 * HOUR);
      },
    },
  );
  sweeping = clock;
  for (let round = 1; round <= 3; round++) {
    await look();
    source.txId += 1;
    expect(types(events)).toEqual(Array.from({ length: round }, () => ROUND).flat());
    expect(checkpointer.status().nextCheckAt).toBeGreaterThanOrEqual(clock.now() + 0.9 * HOUR);
  }
});
