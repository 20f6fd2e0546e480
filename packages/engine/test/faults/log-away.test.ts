// @module-tag nats
import { ClusterScene, put } from "@cairn/test-support/nodes/cluster-scene";
import { NatsOperator } from "@cairn/log-nats/testing";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { CairnNode } from "../../src/node/node.ts";

let scene: ClusterScene;
let node: CairnNode;
beforeEach(async () => {
  scene = await ClusterScene.open();
  node = await scene.ready("a");
  await put(node, 0, 3, "v");
});
afterEach(() => scene.close());

const KEY = { bucket: "things", namespace: "default", name: "k0" };
const PATIENT = { timeout: 20_000, interval: 20 };
/** How long a write may wait for a log that is known to be away, on a slow machine (ms). */
const MAX_WAIT_MS = 9_000;

/** Submits a transaction that cannot be stored. Returns its error, and how long it took (ms). */
async function refused(): Promise<{ readonly code: string; readonly message: string; readonly ms: number }> {
  const begun = performance.now();
  const error = await node.submit({ ops: [["put", "things", "default/late", 1]] }).then(
    () => undefined,
    (thrown: unknown) => thrown as { code: string; message: string },
  );
  if (error === undefined) throw new Error("The transaction was stored.");
  return { code: error.code, message: error.message, ms: performance.now() - begun };
}

describe("a node whose log is away", () => {
  it(
    "serves reads, refuses writes soon, later at once, and continues when the servers are back",
    { tags: "rest/slow" },
    async () => {
      await scene.nats.kill();
      const first = await refused();
      expect(first).toMatchObject({ code: "LOG_UNREACHABLE", message: expect.stringContaining("is down") });
      expect(first.ms).toBeLessThan(MAX_WAIT_MS);
      expect((await refused()).ms).toBeLessThan(1_000);
      expect(await node.get(KEY)).toBeDefined();
      await expect(node.get(KEY, { linearizable: true })).rejects.toMatchObject({ code: "LOG_UNREACHABLE" });
      await scene.nats.start();
      await vi.waitFor(async () => await put(node, 3, 4, "back"), PATIENT);
    },
  );

  it("stores what was submitted while its server was restarted", async () => {
    await scene.nats.kill();
    const submitted = node.submit({ ops: [["put", "things", "default/during", 1]] });
    await scene.nats.start();
    await node.await(await submitted);
    expect(await node.get({ ...KEY, name: "during" })).toBeDefined();
  });

  it(
    "refuses writes soon, and reads unless they may be stale, as its hint says, if the stream was deleted",
    { tags: "rest/slow" },
    async () => {
      await NatsOperator.at(scene.nats.url, async (nats) => await nats.deleteStream());
      const { code, ms } = await refused();
      expect(["LOG_UNREACHABLE", "LOG_REGRESSED"]).toContain(code);
      expect(ms).toBeLessThan(MAX_WAIT_MS);
      await vi.waitFor(() => expect(node.phase).toBe("failed"), PATIENT);
      expect(await refused()).toMatchObject({ code: "NOT_READY" });
      await expect(node.get(KEY)).rejects.toMatchObject({
        code: "NOT_READY",
        message: expect.stringContaining('There is no log "cairn"'),
        hint: expect.stringMatching(/To read what this node has now over HTTP, add stale=true\.$/),
      });
      expect(await node.get(KEY, { stale: true })).toBeDefined();
      // What has no stale form is not said to have one.
      await expect(node.await(2)).rejects.toMatchObject({ hint: expect.not.stringContaining("stale") });
    },
  );

  it("does not promise stale reads that it cannot serve, because it was started without an index", async () => {
    await scene.nats.kill();
    const fresh = await scene.start("b");
    fresh.ready.catch(() => undefined);
    await vi.waitFor(async () => expect((await fresh.status()).failure).not.toBeNull(), PATIENT);
    for (const stale of [false, true])
      await expect(fresh.get(KEY, { stale })).rejects.toMatchObject({
        code: "NOT_READY",
        hint: expect.not.stringContaining("stale"),
      });
  });
});
