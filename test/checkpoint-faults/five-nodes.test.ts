// @module-tag nats
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from "vitest";
import { type NodeProcess, runCairnOrThrow } from "@cairn/test-support/cairn-process";
import { CheckpointCluster } from "@cairn/test-support/checkpoint-cluster";
import { gapsOf, listFolder, overlaps, type SeenCheckpoint } from "@cairn/test-support/watched-store";

/** The duration of `pnpm soak five-nodes` in minutes. It is 0 in the test suite, where the test takes a few periods. */
const MINUTES = Number(process.env["CAIRN_SOAK_MINUTES"] ?? 0);
const PERIOD_SECONDS = Number(process.env["CAIRN_SOAK_PERIOD_SECONDS"] ?? 2);
const MEGABYTES = 30;
const PERIOD_MS = PERIOD_SECONDS * 1_000;
const SOAKING = MINUTES > 0;
const WHOLE_TIME = { timeout: (MINUTES + 1) * 60_000, interval: 1_000 };

/** The second test examines what the first one leaves in the store. */
const IN_ORDER = { shuffle: false, tags: "rest/slow", timeout: 180_000 + MINUTES * 60_000 };

it(
  "two node processes on one log and one folder save one checkpoint at a time, once per period",
  { tags: "rest/slow" },
  async () => {
    const cluster = await CheckpointCluster.open();
    onTestFinished(() => cluster.close());
    await Promise.all(["a", "b"].map((id) => cluster.start(id, "PT1S")));
    cluster.write();
    await vi.waitFor(() => expect(cluster.store.checkpoints.size).toBeGreaterThanOrEqual(2), {
      interval: 20,
    });
    expect(new Set(await cluster.settle()).size).toBe(1);
    const taken = cluster.store.inOrder();
    expect(overlaps(taken)).toEqual([]);
    // No node saves sooner than nine tenths of a period after another.
    expect(Math.min(...gapsOf(taken))).toBeGreaterThan(0.9 * 1_000 - 50);
  },
);

describe("five node processes on one log and one folder", IN_ORDER, () => {
  let cluster: CheckpointCluster;
  const begun = Date.now();
  const until = begun + MINUTES * 60_000;
  const frequency = `PT${PERIOD_SECONDS}S`;
  const report: string[] = [];

  beforeAll(async () => {
    cluster = await CheckpointCluster.open();
    const first = await cluster.start("a", frequency);
    await cluster.load(first, MEGABYTES);
    await Promise.all(["b", "c", "d", "e"].map((id) => cluster.start(id, frequency)));
    cluster.write();
  }, 180_000);
  afterAll(async () => {
    if (SOAKING) process.stdout.write(`${report.join("\n")}\n`);
    await cluster.close();
  });

  it("save one at a time, and another one takes over from a node that is frozen in the middle of its upload", async () => {
    // Undisturbed periods come first, then the fault, then the rest of the time.
    const saved = SOAKING ? (MINUTES * 60) / PERIOD_SECONDS / 3 : 2;
    await waitForCheckpoints(saved);
    const { node: frozen, upload, at: frozenAt } = await freezeInUpload();
    const takeover = await vi.waitFor(
      () => {
        const newest = cluster.store.newest();
        if (newest === undefined || newest.takenAt < frozenAt) throw new Error("no node has taken over yet");
        return newest;
      },
      { timeout: 90_000 + 4 * PERIOD_MS, interval: 20 },
    );
    expect(takeover.node).not.toBe(frozen.id);
    // The frozen node's upload is still in the folder, perhaps beside that of a third node.
    expect(listFolder(cluster.store.folder)).toContain(upload.name);

    const thawedAt = Date.now();
    cluster.thaw(frozen);
    await vi.waitFor(
      async () => {
        const { checkpoints, phase } = await frozen.status();
        expect(checkpoints.lastFailure).toMatchObject({ code: "CONFLICT" });
        expect(checkpoints.running).toBeNull();
        expect(phase).toBe("ready");
      },
      { timeout: 30_000, interval: 50 },
    );
    const byFrozen = cluster.store.inOrder().filter(({ node }) => node === frozen.id);
    expect(byFrozen.filter(({ takenAt }) => takenAt > frozenAt - 1_000 && takenAt < thawedAt)).toEqual([]);
    report.push(
      `${frozen.id} was stopped when ${upload.bytes} bytes were uploaded; ${takeover.node} took over after ` +
        `${((takeover.takenAt - frozenAt) / 1_000).toFixed(1)} s; ${frozen.id} published none of it`,
    );

    if (SOAKING) await vi.waitFor(() => expect(Date.now()).toBeGreaterThan(until), WHOLE_TIME);
    else await waitForCheckpoints(cluster.store.checkpoints.size + 1);

    const digests = await cluster.settle();
    expect(new Set(digests).size).toBe(1);
    const taken = cluster.store.inOrder();
    expect(overlaps(taken)).toEqual([]);
    // If there are only a few checkpoints, one node may by chance save all of them.
    if (SOAKING) expect(new Set(taken.map(({ node }) => node)).size).toBeGreaterThan(1);
    const gaps = gapsOf(taken);
    // No node saves sooner than nine tenths of a period after another. On a busy machine, a save may take a long time.
    expect(Math.min(...gaps)).toBeGreaterThan(0.9 * PERIOD_MS - 50);
    addSummary(taken, gaps);
    if (SOAKING) expect(gaps.filter((gap) => gap > 1.5 * PERIOD_MS).length).toBeLessThanOrEqual(1);
  });

  it("leave only complete checkpoints, and a node that joins restores the newest", async () => {
    await runCairnOrThrow(["checkpoint", "verify", cluster.store.folder, "--no-mark"]);
    const before = cluster.store.newest();
    const joined = await cluster.start("f", frequency);
    const { join } = await joined.status();
    expect(join.skipped).toEqual([]);
    expect(join.restoredFrom?.txId).toBeGreaterThanOrEqual(before?.txId ?? Number.NaN);
    expect(new Set(await cluster.settle()).size).toBe(1);
    report.push(`f joined from ${join.restoredFrom?.name}, ${join.replayed} transactions replayed`);
  });

  async function waitForCheckpoints(count: number): Promise<void> {
    const timeout = 60_000 + 3 * count * PERIOD_MS;
    await vi.waitFor(() => expect(cluster.store.checkpoints.size).toBeGreaterThanOrEqual(count), {
      timeout,
      interval: 20,
    });
  }

  /** Waits until the upload stops growing, because writes may still be in progress when the process is stopped. */
  async function waitUntilUploadStops(): Promise<void> {
    let last = -1;
    await vi.waitFor(
      () => {
        const before = last;
        last = cluster.store.upload(1)?.bytes ?? 0;
        expect(last).toBe(before);
      },
      { interval: 20 },
    );
  }

  /** Freezes the uploading node once a part of its archive is in the folder. Retries in a later round if the upload was too fast. */
  async function freezeInUpload(): Promise<{
    node: NodeProcess;
    upload: { name: string; bytes: number };
    at: number;
  }> {
    const whole = cluster.store.newest()?.bytes ?? 0;
    const deadline = Date.now() + 60_000 + 20 * PERIOD_MS;
    while (Date.now() < deadline) {
      const found = cluster.store.upload(whole * 0.05);
      const node = cluster.nodes.find(({ id }) => id === cluster.store.owner());
      if (found === undefined || node === undefined) {
        await new Promise((resolve) => setTimeout(resolve, 1));
        continue;
      }
      cluster.freeze(node);
      await waitUntilUploadStops();
      const upload = cluster.store.upload(1);
      if (upload?.name === found.name && upload.bytes < whole * 0.95) return { node, upload, at: Date.now() };
      cluster.thaw(node);
    }
    throw new Error("No node could be stopped in the middle of an upload.");
  }

  function addSummary(taken: readonly SeenCheckpoint[], gaps: readonly number[]): void {
    const shares = new Map<string, number>();
    for (const { node } of taken) shares.set(node, (shares.get(node) ?? 0) + 1);
    const seconds = gaps.map((gap) => (gap / 1_000).toFixed(1));
    const uploads = taken.map(({ takenAt, publishedAt }) => publishedAt - takenAt);
    report.push(
      `${taken.length} checkpoints in ${((Date.now() - begun) / 60_000).toFixed(1)} minutes, about every ${PERIOD_SECONDS} s`,
      `by ${[...shares]
        .toSorted()
        .map(([node, count]) => `${node}: ${count}`)
        .join(", ")}; none overlapping`,
      `leases taken: ${cluster.store.leases.size}; uploads took ${Math.min(...uploads).toFixed(0)} to ${Math.max(...uploads).toFixed(0)} ms`,
      `gaps (s): ${seconds.join(" ")}`,
      `longest ${(Math.max(...gaps) / PERIOD_MS).toFixed(2)} periods, with the stop; all nodes give one digest`,
    );
  }
});
