import { join } from "node:path";
import { expect, onTestFinished, test, vi } from "vitest";
import { filesystemStore, listCheckpoints, startCheckpointer } from "../../src/index.ts";
import type { Checkpointer, CheckpointerEvent, CheckpointStore } from "../../src/index.ts";
import { temporaryDirectory } from "@cairn/test-support/stores/places";
import { take } from "@cairn/test-support/stores/rounds";
import { testSource, type TestSource } from "@cairn/test-support/stores/test-source";

const NODES = ["node-1", "node-2", "node-3"];

/** Returns a node whose index is up to date with a log that grows by itself. */
function sourceOfLog(node: string): TestSource {
  const source = testSource(node);
  Object.defineProperty(source, "txId", { get: () => 1 + Math.floor(Date.now() / 10) });
  return source;
}

test("if several nodes look at one folder at the same moment, one of them uploads", async () => {
  const dir = await temporaryDirectory();
  for (let round = 0; round < 10; round++) {
    const path = join(dir, String(round));
    const rounds = NODES.map((node) =>
      take(filesystemStore({ path }), testSource(node), join(dir, node), { forced: false }),
    );
    const outcomes = (await Promise.all(rounds)).map(({ outcome }) => outcome);
    expect(outcomes.filter((outcome) => outcome === "taken")).toHaveLength(1);
    expect((await listCheckpoints(filesystemStore({ path }))).checkpoints).toHaveLength(1);
  }
});

test(
  "a cluster with one folder saves about one checkpoint per period, whatever its size",
  { tags: "rest/slow" },
  async () => {
    const dir = await temporaryDirectory();
    const path = join(dir, "store");
    const approxFrequency = 250;
    const taken: number[] = [];
    const onEvent = (event: CheckpointerEvent): void => {
      if (event.type === "taken") taken.push(Date.parse(event.checkpoint.manifest.takenAt));
    };
    const start = (node: string, store: CheckpointStore): Checkpointer =>
      startCheckpointer({
        source: sourceOfLog(node),
        onEvent,
        options: {
          store,
          approxFrequency,
          checkpointDir: join(dir, node),
          keepDirBetweenCheckpoints: true,
          keepDirOnClose: false,
          checkpointOnClose: false,
          compression: "none",
        },
      });
    const checkpointers = NODES.map((node) => start(node, filesystemStore({ path })));
    onTestFinished(async () => void (await Promise.all(checkpointers.map((one) => one.stop()))));
    await vi.waitFor(() => expect(taken.length).toBeGreaterThanOrEqual(8), { timeout: 30_000 });
    await Promise.all(checkpointers.map((one) => one.stop()));
    const times = taken.toSorted((a, b) => a - b);
    const gaps = times.slice(1).map((time, at) => time - (times[at] ?? 0));
    // No checkpoint is earlier than the schedule allows. How much later it is depends on the load of the machine.
    expect(Math.min(...gaps)).toBeGreaterThanOrEqual(0.9 * approxFrequency - 10);
  },
);
