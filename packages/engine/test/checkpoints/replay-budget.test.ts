import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { type CheckpointStore, filesystemStore, listCheckpoints } from "@cairn/checkpoint";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import type { System } from "../../src/api/system.ts";
import { openEmbeddedTxLog } from "../../src/log/embedded/embedded-tx-log.ts";
import { openNatsTxLog } from "@cairn/log-nats/src/nats-tx-log";
import type { CairnNode } from "../../src/node/node.ts";
import { runNode } from "@cairn/node";
import type { NodeEvent } from "../../src/observe/node-event.ts";
import { NatsOperator, startNatsServer } from "@cairn/log-nats/testing";
import { valueOf } from "@cairn/test-support/nodes/samples";
import { of, put } from "@cairn/test-support/nodes/observed-node";
import { quietSystem } from "@cairn/test-support/nodes/quiet-system";

const REPLAY_BUDGET_MS = 10;
/**
 * The number of transactions in the shortest tail that is saved. A node that has not replayed assumes 50,000
 * transactions per second.
 */
const LIMIT = 500;

/** A ready node that looks at its folder of checkpoints ten times per second. */
interface Scene {
  readonly node: CairnNode;
  readonly store: CheckpointStore;
  /** Waits until the node has begun and ended two more rounds, and returns the last one's outcome. */
  nextOutcome(): Promise<string>;
  /**
   * Waits until the newest checkpoint is at this transaction or a later one. Returns the transactions of all
   * checkpoints, newest first.
   */
  saved(atLeast: number): Promise<number[]>;
  /** Starts a node with its own index. */
  join(): Promise<CairnNode>;
}

async function scene(openLog: (folder: string) => System["openTxLog"]): Promise<Scene> {
  const folder = await mkdtemp(path.join(tmpdir(), "cairn-budget-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const store = filesystemStore({ path: path.join(folder, "checkpoints") });
  const events: NodeEvent[] = [];
  const openTxLog = openLog(folder);
  const checkpointer = {
    store,
    approxFrequency: 100,
    firstLookAfter: 0,
    replayBudget: REPLAY_BUDGET_MS,
  };
  const node = await runNode(quietSystem({ folder, nodeId: "a", openTxLog, checkpointer }), {
    onEvent: (event) => void events.push(event),
  });
  onTestFinished(() => node.close());
  await node.ready;
  const transactions = async (): Promise<number[]> =>
    (await listCheckpoints(store)).checkpoints.map(({ txId }) => txId);
  return {
    node,
    store,
    async nextOutcome() {
      // The first of the two rounds may have begun before this call.
      const before = outcomesOf(events).length;
      await vi.waitFor(() => expect(outcomesOf(events).length).toBeGreaterThanOrEqual(before + 2), {
        timeout: 30_000,
      });
      return outcomesOf(events).at(-1) ?? "";
    },
    async saved(atLeast) {
      const isSaved = async (): Promise<void> =>
        expect((await transactions())[0]).toBeGreaterThanOrEqual(atLeast);
      await vi.waitFor(isSaved, { timeout: 30_000 });
      return await transactions();
    },
    async join() {
      const joined = await runNode(quietSystem({ folder, nodeId: "b", openTxLog, checkpointer: { store } }));
      onTestFinished(() => joined.close());
      return joined;
    },
  };
}

function outcomesOf(events: readonly NodeEvent[]): string[] {
  return of(events, "checkpoint").flatMap((event) =>
    event.stage === "begun" ? [] : [event.stage === "ended" ? event.outcome : event.error.code],
  );
}

async function putMany(node: CairnNode, count: number): Promise<number> {
  const written = Array.from({ length: count }, (_, n) => put(node, `many-${n}`));
  return Math.max(...(await Promise.all(written)));
}

it("a tail that can be replayed within the budget is not uploaded, as /status reports, but a longer one is", async () => {
  const { node, nextOutcome, saved } = await scene(
    (folder) => () => openEmbeddedTxLog({ path: path.join(folder, "log") }),
  );
  const first = await put(node, "first");
  expect(await saved(first)).toEqual([first]);

  const last = await putMany(node, 50);
  expect(await nextOutcome()).toBe("short-tail");
  expect(await saved(first)).toEqual([first]);
  const { checkpoints } = await node.status();
  expect(checkpoints.skipped).toEqual({
    at: expect.any(String),
    reason: "short-tail",
    because: `Replaying transactions ${first + 1} to ${last}, which the newest checkpoint lacks, would take about 1 ms, less than the replay-budget of 10 ms.`,
  });
  expect(checkpoints.last?.txId).toBe(first);
  expect(valueOf(await node.metrics(), "cairn_checkpoint_short_tail")).toBe(1);

  await putMany(node, LIMIT);
  const [newest = 0, ...older] = await saved(first + LIMIT);
  expect(older).toEqual([first]);
  expect(newest).toBeGreaterThanOrEqual(first + LIMIT);

  // A request is not subject to the budget. It is refused while the node saves a checkpoint by itself.
  const requested = await put(node, "requested");
  const outcome = await vi.waitFor(async () => await node.checkpoint().done, { timeout: 30_000 });
  expect(outcome).toMatchObject({ checkpoint: { txId: requested } });
  expect((await node.status()).checkpoints.skipped?.reason).not.toBe("short-tail");
});

/** A node with a checkpoint, and a short tail that it has not saved. */
async function unsavedTail(): Promise<Scene & { readonly url: string; readonly anchor: number }> {
  const server = await startNatsServer();
  onTestFinished(() => server.close());
  const made = await scene(
    () =>
      ({ signal }) =>
        openNatsTxLog({ servers: [server.url], signal }),
  );
  const anchor = await put(made.node, "first");
  await made.saved(anchor);
  await putMany(made.node, 10);
  expect(await made.nextOutcome()).toBe("short-tail");
  return { ...made, url: server.url, anchor };
}

describe("a tail in a log on NATS", { tags: "nats" }, () => {
  it("is saved once the log has been trimmed past the newest checkpoint, and nodes can join again", async () => {
    const { url, anchor, node, nextOutcome, saved, join } = await unsavedTail();
    // Cairn itself keeps the last message of the checkpoint when it trims.
    await NatsOperator.at(url, async (nats) => await nats.purgeBefore(anchor));
    expect(await nextOutcome()).toBe("short-tail");
    await NatsOperator.at(url, async (nats) => await nats.purgeBefore(anchor + 1));
    const last = anchor + 10;
    expect(await saved(last)).toEqual([last, anchor]);
    await putMany(node, 5);
    expect(await nextOutcome()).toBe("short-tail");
    const joined = await join();
    await joined.ready;
    expect((await joined.status()).join).toMatchObject({ restoredFrom: { txId: last }, replayed: 5 });
  });

  it("is saved as long as the log has a setting that can make it lose messages", async () => {
    const { url, anchor, node, nextOutcome, saved } = await unsavedTail();
    await NatsOperator.at(url, async (nats) => await nats.edit({ max_msgs: 1_000_000, discard: "old" }));
    await saved(anchor + 10);
    await NatsOperator.at(url, async (nats) => await nats.edit({ max_msgs: -1, discard: "new" }));
    await putMany(node, 5);
    expect(await nextOutcome()).toBe("short-tail");
  });
});
