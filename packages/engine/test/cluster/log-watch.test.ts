// @module-tag nats
import path from "node:path";
import { type CheckpointStore, filesystemStore } from "@cairn/checkpoint";
import { faultyStore } from "@cairn/checkpoint/testing";
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from "vitest";
import { pino } from "pino";
import { formatStatus } from "@cairn/cli/src/node/status-screen";
import type { CairnNode } from "../../src/node/node.ts";
import { NatsOperator } from "@cairn/log-nats/testing";
import { ClusterScene, put, type SceneOptions } from "@cairn/test-support/nodes/cluster-scene";
import { saveCheckpoint } from "@cairn/test-support/stores/save-checkpoint";

interface Line {
  readonly level: number;
  readonly code?: string;
  readonly hint?: string;
  readonly msg: string;
}

let scene: ClusterScene;
let lines: Line[];
beforeEach(async () => {
  scene = await ClusterScene.open();
  lines = [];
});
afterEach(() => scene.close());

/** Starts a node that checks its log continuously, and waits until it is ready. */
async function watching(
  parts: SceneOptions["parts"] = {},
  store?: CheckpointStore,
  afterMs = 50,
): Promise<CairnNode> {
  const logger = pino({ base: null }, { write: note });
  const options = { stall: { afterMs }, logger, parts };
  return await scene.ready("a", store === undefined ? options : { ...options, store });
}

function note(line: string): void {
  lines.push(JSON.parse(line) as Line);
}

/** A limit that removes nothing in these tests. */
const DAY_NS = 86_400e9;
const operator = async <T>(act: (operator: NatsOperator) => Promise<T>): Promise<T> =>
  await NatsOperator.at(scene.nats.url, act);
const told = (code: string): Line[] => lines.filter((line) => line.code === code);

describe("a change of the log by others while a node runs", () => {
  it("is reported in the status while it lasts, and once in the log: settings that can lose messages", async () => {
    const node = await watching();
    expect((await node.status()).log.warnings).toEqual([]);
    await operator(async (nats) => await nats.edit({ max_msgs: 1_000, discard: "old" }));
    await vi.waitFor(async () =>
      expect((await node.status()).log.warnings).toMatchObject([
        { code: "LOG_UNSAFE", message: /discards its oldest/, hint: /discard/ },
        { code: "LOG_UNSAFE", message: /at most 1000 messages/, hint: /--max-msgs=-1/ },
      ]),
    );
    const screen = formatStatus(await node.status(), { now: Date.now(), colors: false });
    expect(screen).toMatch(
      /^Attention +LOG_UNSAFE: The stream "cairn" holds at most 1000 messages\. \(since /m,
    );
    await operator(async (nats) => await nats.edit({ discard: "new" }));
    await vi.waitFor(async () => expect((await node.status()).log.warnings).toEqual([]));
    expect(told("LOG_UNSAFE")).toMatchObject([
      { level: 40, msg: /discards/, hint: expect.any(String) },
      { level: 40, msg: /at most/, hint: expect.any(String) },
    ]);
  });

  it("is reported with a remedy: purged messages that no checkpoint contains, until one does", async () => {
    const node = await watching();
    const last = await put(node, 0, 5, "v");
    await operator(async (nats) => await nats.purgeBefore(last));
    await vi.waitFor(async () =>
      expect((await node.status()).log.warnings).toMatchObject([
        { code: "LOG_TRIMMED", message: /begins at transaction 6/, hint: /checkpoint create/ },
      ]),
    );
    await saveCheckpoint(node);
    await vi.waitFor(async () => expect((await node.status()).log.warnings).toEqual([]));
    expect(told("LOG_TRIMMED")).toMatchObject([{ level: 40, hint: expect.any(String) }]);
  });

  it("is no longer reported once a checkpoint of the node contains the purged messages, before its next look", async () => {
    const node = await watching();
    const last = await put(node, 0, 5, "v");
    await operator(async (nats) => await nats.purgeBefore(last));
    await node.close();
    const again = await watching({}, undefined, 3_600_000);
    await vi.waitFor(async () =>
      expect((await again.status()).log.warnings).toMatchObject([{ code: "LOG_TRIMMED" }]),
    );
    await saveCheckpoint(again);
    await vi.waitFor(async () => expect((await again.status()).log.warnings).toEqual([]));
  });

  it("is not reported for removed messages that a checkpoint contains", async () => {
    const node = await watching();
    const last = await put(node, 0, 5, "v");
    await saveCheckpoint(node);
    await operator(async (nats) => await nats.purgeBefore(last));
    // The warning about this setting shows that the log was examined after the purge.
    await operator(async (nats) => await nats.edit({ max_age: DAY_NS }));
    await vi.waitFor(() => expect(told("LOG_UNSAFE")).toHaveLength(1));
    expect((await node.status()).log.warnings).toMatchObject([{ code: "LOG_UNSAFE" }]);
    expect(told("LOG_TRIMMED")).toEqual([]);
  });

  it.each(["a checkpoint", "a log backup"])(
    "costs no requests of the store while %s contains the removed messages, and is reported once it is gone",
    { tags: "rest/slow" },
    async (which) => {
      let [requests, isRemoved, aheadMs] = [0, false, 0];
      const now = performance.now.bind(performance);
      vi.spyOn(performance, "now").mockImplementation(() => now() + aheadMs);
      onTestFinished(() => void vi.restoreAllMocks());
      const folder = filesystemStore({ path: path.join(scene.folder, "checkpoints") });
      const before = async (): Promise<void> => {
        requests += 1;
      };
      const counting = faultyStore(folder, { before });
      const store = {
        ...counting,
        list: async (prefix: string) => (isRemoved ? [] : await counting.list(prefix)),
      };
      // The log backup is written by another node, so that this one has no reason of its own to list the store.
      const other = await scene.ready("b", {
        parts: which === "a checkpoint" ? {} : { logBackup: { every: 200, keep: "all", codec: "none" } },
      });
      const node = await watching({}, store);
      const last = await put(node, 0, 5, "v");
      if (which === "a checkpoint") await saveCheckpoint(node);
      else {
        const covered = [{ first: 1, last }];
        await vi.waitFor(async () => expect((await other.status()).logBackup?.covered).toEqual(covered));
      }
      /** Waits until the node has begun and ended an inspection of the log. */
      const inspected = async (): Promise<void> => {
        for (const [edit, warnings] of [
          [{ max_age: DAY_NS }, 1],
          [{ max_age: 0 }, 0],
        ] as const) {
          await operator(async (nats) => await nats.edit(edit));
          await vi.waitFor(async () => expect((await node.status()).log.warnings).toHaveLength(warnings));
        }
      };
      await operator(async (nats) => await nats.purgeBefore(last));
      await inspected();
      const searched = requests;
      aheadMs = 120_000;
      await inspected();
      expect(requests).toBe(searched);
      isRemoved = true;
      aheadMs = 3_700_000;
      /** What was listed just now still counts for a moment, and what was concluded from that for a minute. */
      const later = async (): Promise<readonly unknown[]> => {
        aheadMs += 120_000;
        return (await node.status()).log.warnings;
      };
      await vi.waitFor(async () => expect(await later()).toMatchObject([{ code: "LOG_TRIMMED" }]));
      isRemoved = false;
      await vi.waitFor(async () => expect(await later()).toEqual([]));
    },
  );

  it("is not reported for removed messages that a log backup contains", async () => {
    const node = await watching({ logBackup: { every: 200, keep: "all", codec: "none" } });
    const last = await put(node, 0, 5, "v");
    await vi.waitFor(async () =>
      expect((await node.status()).logBackup?.covered).toEqual([{ first: 1, last }]),
    );
    await operator(async (nats) => await nats.purgeBefore(last));
    await operator(async (nats) => await nats.edit({ max_age: DAY_NS }));
    await vi.waitFor(() => expect(told("LOG_UNSAFE")).toHaveLength(1));
    expect((await node.status()).log.warnings).toMatchObject([{ code: "LOG_UNSAFE" }]);
    expect(told("LOG_TRIMMED")).toEqual([]);
  });

  it("is repaired: a description without the log's id, which is recorded nowhere else once the log has been trimmed", async () => {
    const node = await watching();
    const { id } = (await node.status()).log;
    const last = await put(node, 0, 5, "v");
    await saveCheckpoint(node);
    await operator(async (nats) => {
      await nats.purgeBefore(last);
      await nats.edit({ description: "orders" });
    });
    await vi.waitFor(async () => {
      const { config } = await operator(async (nats) => await nats.info());
      expect(config.description).toBe(`orders (cairn log id ${id})`);
    });
    expect((await node.status()).log.warnings).toEqual([]);
  });

  it(
    "is reported with its repair by a node that starts when the log's id is lost",
    { tags: "rest/slow" },
    async () => {
      const node = await watching();
      const { id } = (await node.status()).log;
      const last = await put(node, 0, 5, "v");
      await saveCheckpoint(node);
      await scene.stop(node);
      await operator(async (nats) => {
        await nats.purgeBefore(last);
        await nats.edit({ description: "orders" });
      });
      const again = await scene.start("a");
      again.ready.catch(() => undefined);
      await vi.waitFor(() => expect(again.phase).toBe("failed"));
      const { failure } = await again.status();
      const command = `nats stream edit cairn --description "cairn log id ${id}"`;
      expect(failure).toMatchObject({ code: "LOG_DIFFERENT", hint: expect.stringContaining(command) });
      await operator(async (nats) => await nats.edit({ description: `cairn log id ${id}` }));
      await again.ready;
    },
  );

  it("leaves /status and health working when the stream can no longer be a log", async () => {
    const node = await watching();
    await put(node, 0, 1, "v");
    await operator(async (nats) => await nats.edit({ sealed: true }));
    await vi.waitFor(
      async () => {
        const { failure, log } = await node.status();
        const said = failure ?? log.warnings[0];
        expect(said).toMatchObject({ code: "CONFIG_INVALID", message: /it is sealed/ });
      },
      { timeout: 20_000 },
    );
  });
});
