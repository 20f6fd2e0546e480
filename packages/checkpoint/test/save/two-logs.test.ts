import { expect, test } from "vitest";
import { temporaryDirectory } from "@cairn/test-support/stores/places";
import { namesIn, sweep, take, takeAt } from "@cairn/test-support/stores/rounds";
import { testSource, type TestSource } from "@cairn/test-support/stores/test-source";
import { memoryStore } from "../../testing/index.ts";

/** Returns a node whose log differs from that of `testSource()`. */
function otherSource(logId = "log-b", node = "node-b"): TestSource {
  return Object.assign(testSource(node), { logId });
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
