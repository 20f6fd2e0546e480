import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { expect, onTestFinished, test, vi } from "vitest";
import { filesystemStore, listCheckpoints } from "../../src/index.ts";
import type { CheckpointStore } from "../../src/index.ts";
import { filesAt } from "@cairn/test-support/stores/index-files";
import { digestsOf, temporaryDirectory } from "@cairn/test-support/stores/places";
import { restore, restoredIn, sweep, take } from "@cairn/test-support/stores/rounds";
import { testSource } from "@cairn/test-support/stores/test-source";

const CHILD = fileURLToPath(new URL("../../dist/test/support/saving-child.js", import.meta.url));

interface Child {
  /** Waits for a checkpoint that the process has saved. */
  saved(): Promise<void>;
  kill(): Promise<void>;
}

function startChild(dir: string, node: string): Child {
  const child = spawn(process.execPath, [CHILD, join(dir, "store"), join(dir, node), node], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const exited = once(child, "exit");
  return {
    async saved() {
      expect((await lines.next()).done).toBe(false);
    },
    async kill() {
      child.kill("SIGKILL");
      expect(await exited).toEqual([null, "SIGKILL"]);
    },
  };
}

async function expectWholeCheckpoints(dir: string, store: CheckpointStore, round: number): Promise<void> {
  const { checkpoints, skipped } = await listCheckpoints(store);
  expect(skipped).toEqual([]);
  const target = join(dir, `restored-${round}`);
  const { restored } = await restore([store], target);
  expect(restored?.name).toBe(checkpoints[0]?.name);
  expect(await restoredIn(target)).toEqual(digestsOf(filesAt(checkpoints[0]?.txId ?? 0)));
}

/** Kills a node in one round after the other, and expects only whole checkpoints after each. */
async function killInRounds(rounds: number, dir: string, store: CheckpointStore): Promise<void> {
  for (let round = 0; round < rounds; round++) {
    const child = startChild(dir, "node-1");
    await child.saved();
    // The process is killed at a random instant of one of the next rounds, each of which takes a few milliseconds.
    await new Promise((resolve) => setTimeout(resolve, Math.random() * 30));
    await child.kill();
    expect((await listCheckpoints(store)).checkpoints.length).toBeGreaterThan(0);
    await expectWholeCheckpoints(dir, store, round);
  }
}

test("a node that is killed during a save leaves only whole checkpoints", async () => {
  const dir = await temporaryDirectory();
  await killInRounds(2, dir, filesystemStore({ path: join(dir, "store"), temporaryGraceMs: 0 }));
});

test(
  "however often a node is killed during a save, only whole checkpoints are listed, and the next round succeeds",
  { tags: "rest/campaign" },
  async () => {
    const dir = await temporaryDirectory();
    const store = filesystemStore({ path: join(dir, "store"), temporaryGraceMs: 0 });
    await killInRounds(12, dir, store);

    const source = testSource();
    source.txId = 1_000_000;
    // The dead process may still hold its lease or, if it died during a renewal, delay others for five seconds.
    await vi.waitFor(async () => expect(await take(store, source, dir)).toMatchObject({ outcome: "taken" }), {
      timeout: 30_000,
    });
    await vi.waitFor(
      async () => {
        await sweep(store, source, { policy: { retainAtLeast: 1 }, orphanGraceMs: 0 });
        const left = (await readdir(join(dir, "store"))).filter((name) => !name.startsWith("."));
        expect(left.toSorted()).toEqual([
          expect.stringMatching(/^checkpoint-1000000-.*\.json$/),
          expect.stringMatching(/^checkpoint-1000000-.*\.tar$/),
          "reservations",
        ]);
      },
      { timeout: 30_000 },
    );
  },
);

test(
  "processes that save, sweep and die leave a shared folder intact",
  { tags: "rest/campaign" },
  async () => {
    const dir = await temporaryDirectory();
    const store = filesystemStore({ path: join(dir, "store") });
    for (let round = 0; round < 3; round++) {
      const children = ["node-1", "node-2", "node-3"].map((node) => startChild(dir, node));
      await Promise.race(children.map((child) => child.saved()));
      for (const child of children) await child.kill();
      await expectWholeCheckpoints(dir, store, round);
    }
  },
);
