// @module-tag nats
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { CairnClient } from "@cairn/client";
import type { NodeApi, ReadOptions } from "@cairn/engine";
import { NatsOperator } from "@cairn/log-nats/testing";
import { cairn } from "@cairn/test-support/nodes/captured-terminal";
import { ClusterScene, put } from "@cairn/test-support/nodes/cluster-scene";

const KEY = { bucket: "things", namespace: "default", name: "k0" };

let scene: ClusterScene;
beforeEach(async () => {
  scene = await ClusterScene.open();
});
afterEach(() => scene.close());

const firstOf = async (items: AsyncIterable<unknown>): Promise<unknown> => {
  for await (const item of items) return item;
  return undefined;
};

const messages = async (): Promise<number> =>
  await NatsOperator.at(scene.nats.url, async (nats) => (await nats.info()).state.messages);

const READS: readonly [string, (node: NodeApi, options: ReadOptions) => Promise<unknown>][] = [
  ["a document", (node, options) => node.get(KEY, options)],
  ["a list", (node, options) => node.list({ bucket: "things", ...options })],
  ["a history", (node, options) => node.history(KEY, options)],
  ["the buckets", (node, options) => node.buckets(options)],
  ["the events", (node, options) => node.events(options)],
  ["the evictions", (node, options) => node.evictions(options)],
  ["the policies", (node, options) => node.policies(options)],
  ["the digest", (node, options) => node.digest(options)],
  [
    "an outcome",
    async (node, options) => {
      await node.prepareRead(options);
      return await node.outcome(3);
    },
  ],
];

describe("a linearizable read", () => {
  it.each(READS)(
    "of %s waits for the transactions that another node acknowledged, even if its own node lags behind",
    { tags: "rest/slow" },
    async (_, read) => {
      const writer = await scene.ready("a");
      const { node, faults } = await scene.withheld("b");
      await node.await((await writer.submit({ ops: [["put", "things", "default/k1", "old"]] })).txId);
      faults.stalled = true;
      const { txId } = await writer.submit({
        ops: [
          ["put", "things", "default/k0", "new"],
          ["event", { object: "k0", reason: "Made" }],
          ["evict", "things", "default/k1"],
          ["configure", { indexes: { things: ["colour"] } }],
        ],
      });
      await writer.await(txId);
      const before = await read(node, {});
      await expect(read(node, { linearizable: true, timeoutMs: 100 })).rejects.toMatchObject({
        code: "TX_TIMEOUT",
      });
      const waiting = read(node, { linearizable: true });
      expect(await read(node, {})).toEqual(before);
      expect((await node.status()).index.lag).toBeGreaterThan(0);
      faults.stalled = false;
      expect(await waiting).not.toEqual(before);
      const { txId: upTo, digest } = await node.digest({ linearizable: true });
      expect(await writer.digest({ minTx: upTo })).toEqual({ txId: upTo, digest });
    },
  );

  it("is available over HTTP, in the client and on the command line", { tags: "rest/slow" }, async () => {
    const writer = await scene.ready("a");
    const { node, faults } = await scene.withheld("b");
    const urls = node.url ?? "";
    const client = new CairnClient({ urls, readYourWrites: false });
    faults.stalled = true;
    await put(writer, 0, 1, "new");
    const late = { linearizable: true, timeoutMs: 100 };
    await expect(client.get("things", "k0", late)).rejects.toMatchObject({ status: 504, code: "TX_TIMEOUT" });
    const address = `${urls}/api/v1/things/default/k0?linearizable=true`;
    expect((await fetch(`${address}&timeout=PT0.3S`)).status).toBe(504);
    const asked: Promise<unknown>[] = [
      // The delay is longer than the fast path waits, so the slow path responds.
      fetch(address).then((answer) => answer.json()),
      client.get("things", "k0", { linearizable: true }),
      firstOf(client.list("things", { linearizable: true })),
      ...[
        ["get", "things", "k0"],
        ["list", "things"],
        ["history", "things", "k0"],
      ].map(async (command) => (await cairn([...command, "--linearizable", "--json", "--url", urls])).stdout),
    ];
    expect(await client.get("things", "k0")).toBeUndefined();
    faults.stalled = false;
    for (const answer of await Promise.all(asked)) expect(JSON.stringify(answer)).toContain("new");
    await put(writer, 0, 1, "newer");
    expect(await (await fetch(address)).json()).toBe("newer");
    expect((await fetch(address.replace("k0", "none"))).status).toBe(404);
  });

  it("shares one append among concurrent reads", async () => {
    const node = await scene.ready("a");
    await put(node, 0, 3, "v");
    const before = await messages();
    await Promise.all(Array.from({ length: 500 }, () => node.get(KEY, { linearizable: true })));
    expect((await messages()) - before).toBe(1);
    expect(await node.metrics()).toMatch(/^cairn_read_barriers_total 1$/m);
  });

  it(
    "is refused while the log cannot store anything, unlike a plain read",
    { tags: "rest/slow" },
    async () => {
      const node = await scene.ready("a");
      await put(node, 0, 1, "v");
      scene.nats.freeze();
      // The signal reaches the server with a delay.
      await vi.waitFor(async () => {
        await expect(node.get(KEY, { linearizable: true, timeoutMs: 300 })).rejects.toMatchObject({
          code: "TX_TIMEOUT",
          hint: expect.stringContaining("cairn status shows"),
        });
      });
      expect(await node.get(KEY)).toMatchObject({ json: '"v"' });
      expect((await node.status()).log.reachable).toBe(false);
      scene.nats.thaw();
      await vi.waitFor(async () =>
        expect(await node.get(KEY, { linearizable: true, timeoutMs: 1_000 })).toMatchObject({ json: '"v"' }),
      );
      await NatsOperator.at(
        scene.nats.url,
        async (nats) => await nats.edit({ max_msgs: (await nats.info()).state.messages, discard: "new" }),
      );
      await expect(node.get(KEY, { linearizable: true })).rejects.toMatchObject({ code: "LOG_FULL" });
      expect(await node.get(KEY)).toMatchObject({ json: '"v"' });
    },
  );

  it("is refused together with stale", async () => {
    const node = await scene.ready("a");
    await expect(node.get(KEY, { linearizable: true, stale: true })).rejects.toMatchObject({
      code: "REQUEST_INVALID",
      hint: expect.stringContaining("stale=true"),
    });
  });
});
