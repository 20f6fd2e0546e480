import { expect, test, vi } from "vitest";
import type { CheckpointerEvent } from "../../src/index.ts";
import { HOUR, start } from "../support/bench.ts";
import { temporaryDirectory } from "@cairn/test-support/stores/places";
import { namesIn, sweep, take, takeAt } from "@cairn/test-support/stores/rounds";
import { testSource, type TestSource } from "@cairn/test-support/stores/test-source";
import { memoryStore } from "../../testing/index.ts";

/** Returns a node whose log differs from that of `testSource()`. */
function otherSource(logId = "log-b", node = "node-b"): TestSource {
  return Object.assign(testSource(node), { logId });
}

function warnings(events: readonly CheckpointerEvent[]): string[] {
  return events.flatMap((event) => (event.type === "warning" ? [event.about] : []));
}

test("a log's nodes neither wait for an upload of another log nor end it", async () => {
  const store = memoryStore();
  const slow = testSource();
  let other: unknown;
  slow.beforeCapture = async () => {
    other = await take(store, otherSource(), await temporaryDirectory());
    const second = await take(store, testSource("node-2"), await temporaryDirectory());
    expect(second).toMatchObject({ outcome: "skipped", reason: "leased" });
  };
  expect(await take(store, slow, await temporaryDirectory())).toMatchObject({ outcome: "taken" });
  expect(other).toMatchObject({ outcome: "taken" });
});

test("a log whose id cannot be part of a file name also has a lease", async () => {
  const store = memoryStore();
  const source = otherSource("a/b c");
  const held: string[] = [];
  source.beforeCapture = async () => void held.push(...(await namesIn(store)));
  expect(await take(store, source, await temporaryDirectory())).toMatchObject({ outcome: "taken" });
  expect(held).toEqual([expect.stringMatching(/^in-progress-[0-9a-f]{32}\.json$/)]);
});

test("the retention policy of one log does not affect checkpoints of another log", async () => {
  const store = memoryStore();
  const dir = await temporaryDirectory();
  const mine = testSource();
  for (const txId of [1, 2]) {
    await takeAt(txId, store, mine, dir);
    await takeAt(10 + txId, store, otherSource(), dir);
  }
  await sweep(store, mine, { policy: { retainAtLeast: 1 } });
  const manifests = (await namesIn(store)).filter((name) => name.endsWith(".json"));
  expect(manifests.map((name) => name.split("-")[1])).toEqual(["11", "12", "2"]);
});

test("other logs whose nodes save to the same store are reported once, with the name of one", async () => {
  const { checkpointer, clock, store, source, events, look } = await start();
  await look();
  for (const round of [1, 2]) {
    for (const other of [otherSource(), otherSource("log-c", "node-c")]) {
      clock.advance(5_000);
      // The other log's checkpoint comes after this log's checkpoints, because names are listed by transaction.
      await takeAt(round, store, other, await temporaryDirectory());
    }
    source.txId += 10;
    await look();
  }
  const said = {
    about: "other-log",
    message: expect.stringMatching(/node-[bc] saved checkpoint-.*\(log-[bc]\)/),
  };
  expect(events.filter(({ type }) => type === "warning")).toMatchObject([said]);
  expect(checkpointer.status().warnings).toMatchObject([said]);
});

test("checkpoints that another log saved before this process started, which this log may continue, are not reported", async () => {
  const { clock, store, events, look, source } = await start();
  const before = { ...store, now: async () => clock.now() - HOUR };
  await takeAt(100, before, otherSource(), await temporaryDirectory());
  await look();
  source.txId = 5;
  await look();
  expect(warnings(events)).toEqual([]);
});

test("the manifest of another log's checkpoint is read once", async () => {
  const read = vi.fn<(name: string) => void>();
  const { clock, store, source, look } = await start(
    {},
    {
      before: async ({ method, name }) =>
        void (method === "read" && name.startsWith("checkpoint-") && read(name)),
    },
  );
  source.txId = 3;
  await look();
  clock.advance(5_000);
  const name = await takeAt(1, store, otherSource(), await temporaryDirectory());
  source.txId = 7;
  for (let n = 0; n < 3; n += 1) await look();
  expect(read.mock.calls.filter(([file]) => file === `${name}.json`)).toHaveLength(1);
});
