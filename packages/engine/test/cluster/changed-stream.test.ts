// @module-tag nats
import { pino } from "pino";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { CairnNode } from "../../src/node/node.ts";
import { NatsOperator } from "@cairn/log-nats/testing";
import { ClusterScene, put } from "@cairn/test-support/nodes/cluster-scene";

let scene: ClusterScene;
let lines: { readonly msg: string; readonly txId?: number; readonly reason?: string }[];
beforeEach(async () => {
  scene = await ClusterScene.open();
  lines = [];
});
afterEach(() => scene.close());

/** Starts a node that checks its log continuously. */
async function watching(id: string): Promise<CairnNode> {
  return await scene.start(id, { stall: { afterMs: 300 }, logger: pino({ base: null }, { write: note }) });
}

function note(line: string): void {
  lines.push(JSON.parse(line) as (typeof lines)[number]);
}

const operator = async <T>(act: (operator: NatsOperator) => Promise<T>): Promise<T> =>
  await NatsOperator.at(scene.nats.url, act);
const PATIENT = { timeout: 60_000, interval: 50 };

describe("the stream of a log under a running node", () => {
  it(
    "that lost the log's subject makes the node refuse writes, with the reason, until it has the subject again",
    { tags: "rest/slow" },
    async () => {
      const node = await watching("a");
      await node.ready;
      await put(node, 0, 3, "v");
      await operator(async (nats) => await nats.edit({ subjects: ["orders.a", "orders.b"] }));
      const refused = {
        message: 'The stream "cairn" does not capture the subject "cairn.tx", but orders.a, orders.b.',
        hint: expect.stringContaining('Add "cairn.tx" to the subjects of the stream'),
      };
      await expect(put(node, 3, 4, "v")).rejects.toMatchObject({ code: "LOG_UNREACHABLE", ...refused });
      await vi.waitFor(async () => {
        expect((await node.status()).log.warnings).toMatchObject([{ code: "CONFIG_INVALID", ...refused }]);
      }, PATIENT);
      // The node must continue to read the log; otherwise it would halt.
      expect(await node.status()).toMatchObject({ phase: "ready", log: { reachable: true } });
      expect((await node.list({ bucket: "things" })).documents).toHaveLength(3);
      // The remedy is followed to the letter. From then on, the stream's other subjects are reported.
      await operator(async (nats) => await nats.edit({ subjects: ["orders.a", "orders.b", "cairn.tx"] }));
      await put(node, 3, 4, "v");
      await vi.waitFor(async () => {
        expect((await node.status()).log.warnings).toMatchObject([
          { code: "LOG_UNSAFE", hint: "nats stream edit cairn --subjects=cairn.tx corrects that." },
        ]);
      }, PATIENT);
      await operator(async (nats) => await nats.edit({ subjects: ["cairn.tx"] }));
      await vi.waitFor(async () => expect((await node.status()).log.warnings).toEqual([]), PATIENT);
    },
  );

  it.each([
    ["acknowledges nothing", { no_ack: true }, "--ack corrects that", { no_ack: false }],
    [
      "copies messages from other streams",
      { sources: [{ name: "other" }] },
      "remove the sources",
      { sources: [] },
    ],
  ])(
    "that %s fails the node until the setting is put right, and no longer",
    { tags: "rest/slow" },
    async (words, wrong, cure, right) => {
      await NatsOperator.at(scene.nats.url, async (nats) => await nats.makeForeignStream([]), {
        stream: "other",
      });
      const node = await watching("a");
      await node.ready;
      await put(node, 0, 3, "v");
      await operator(async (nats) => await nats.edit(wrong));
      await vi.waitFor(async () => {
        expect(await node.status()).toMatchObject({
          phase: "failed",
          failure: {
            code: "CONFIG_INVALID",
            message: expect.stringContaining(words),
            hint: expect.stringContaining(cure),
            retries: true,
          },
        });
      }, PATIENT);
      await operator(async (nats) => await nats.edit(right));
      await vi.waitFor(() => expect(node.phase).toBe("ready"), PATIENT);
      await put(node, 3, 6, "v");
      expect((await node.list({ bucket: "things" })).documents).toHaveLength(6);
    },
  );

  it(
    "that was sealed is removed, as the hint says, and continued from the index of a node",
    { tags: "rest/slow" },
    async () => {
      const node = await watching("a");
      await node.ready;
      const last = await put(node, 0, 3, "v");
      await operator(async (nats) => await nats.edit({ sealed: true }));
      await vi.waitFor(async () => {
        const { failure } = await node.status();
        expect(failure?.hint).toContain("nats stream rm cairn while the nodes run");
      }, PATIENT);
      await operator(async (nats) => await nats.deleteStream());
      await vi.waitFor(async () => {
        expect((await node.status()).failure).toMatchObject({
          code: "LOG_DIFFERENT",
          hint: expect.stringContaining(`continues after transaction ${last}, from the index of this node`),
        });
      }, PATIENT);
    },
  );

  it("that was given another subject receives new messages", async () => {
    const node = await watching("a");
    await node.ready;
    await put(node, 0, 3, "v");
    await operator(async (nats) => await nats.edit({ subjects: ["orders"] }));
    await put(node, 3, 6, "v");
    expect((await node.list({ bucket: "things" })).documents).toHaveLength(6);
  });

  it("that captures additional subjects stores foreign messages, which is reported", async () => {
    const node = await watching("a");
    await node.ready;
    await operator(async (nats) => await nats.edit({ subjects: ["cairn.tx", "orders"] }));
    const position = await operator(
      async (nats) => await nats.publish(Buffer.from("an order"), undefined, "orders"),
    );
    await vi.waitFor(() => {
      expect(lines).toContainEqual(
        expect.objectContaining({ msg: "The log contains messages that change nothing.", txId: position }),
      );
    }, PATIENT);
    const last = await put(node, 0, 1, "v");
    expect(last).toBe(position + 1);
  });

  it(
    "that allows fewer readers than there are nodes is reported by the waiting node, which can be stopped immediately",
    { tags: "rest/slow" },
    async () => {
      await operator(async (nats) => await nats.makeForReaders(1));
      const first = await watching("a");
      await first.ready;
      await put(first, 0, 3, "v");
      const second = await watching("b");
      second.ready.catch(() => undefined);
      await vi.waitFor(async () => {
        const { log, stalled } = await second.status();
        expect(log.warnings).toContainEqual(
          expect.objectContaining({
            code: "LOG_UNREACHABLE",
            message: expect.stringContaining("maximum consumers limit reached"),
            hint: expect.stringContaining("max_consumers"),
          }),
        );
        expect(stalled?.message).toContain("maximum consumers limit reached");
      }, PATIENT);
      // The stream itself responds, but the node cannot read it, and says so each time it is asked.
      for (let n = 0; n < 50; n += 1) {
        const { log } = await second.status();
        expect(log.reachable).toBe(false);
        const unreachable = log.warnings.filter(({ code }) => code === "LOG_UNREACHABLE");
        expect(unreachable.length).toBeGreaterThan(0);
        for (const { message } of unreachable) expect(message).toContain("maximum consumers limit reached");
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      const begun = performance.now();
      await scene.stop(second);
      expect(performance.now() - begun).toBeLessThan(8_000);
    },
  );
});
