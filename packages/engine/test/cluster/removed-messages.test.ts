// @module-tag nats
import { writeFile } from "node:fs/promises";
import path from "node:path";
import { type CheckpointStore, filesystemStore } from "@cairn/checkpoint";
import { faultyStore } from "@cairn/checkpoint/testing";
import { CairnError, LEVEL_FORMAT } from "@cairn/kv";
import { NatsOperator } from "@cairn/log-nats/testing";
import { openNatsTxLog } from "@cairn/log-nats/src/nats-tx-log";
import { cairn, CapturedTerminal } from "@cairn/test-support/nodes/captured-terminal";
import { ClusterScene, put } from "@cairn/test-support/nodes/cluster-scene";
import { saveCheckpoint } from "@cairn/test-support/stores/save-checkpoint";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { CairnNode } from "../../src/node/node.ts";
import { trimLog } from "../../src/upkeep/plan-trim.ts";

const HTTP = { host: "127.0.0.1", port: 0, maxBody: 1_000_000 };
const REMOVED = {
  code: "LOG_TRIMMED",
  message: /were removed from the log "cairn", but not by Cairn.* purged the stream or lowered a limit of it/,
};

let scene: ClusterScene;
let store: CheckpointStore;
beforeEach(async () => {
  scene = await ClusterScene.open();
  const folder = path.join(scene.folder, "checkpoints");
  store = filesystemStore({ path: folder, shared: true });
  const place = { "cairn/module": "cairn.checkpoint/->filesystem-checkpoint-store", path: folder };
  const config = {
    "cairn/tx-log": { "cairn/module": "cairn.nats/->tx-log", servers: scene.nats.url },
    "cairn/index-store": {
      "kv-store": {
        checkpointer: { store: { ...place, "shared-store": true }, "approx-frequency": "PT6H" },
      },
    },
  };
  await writeFile(path.join(scene.folder, "cairn.json"), JSON.stringify(config));
});
afterEach(() => scene.close());

/** Starts a node that checks its log continuously, and waits until it is ready and has checked it. */
async function watching(id: string): Promise<CairnNode> {
  const node = await scene.ready(id, { stall: { afterMs: 50 }, parts: { http: HTTP }, store });
  await examined(node);
  return node;
}

/** Waits until the node has begun and ended an examination of the log. */
async function examined(node: CairnNode): Promise<void> {
  for (const age of [86_400e9, 0]) {
    await operator(async (nats) => await nats.edit({ max_age: age }));
    await vi.waitFor(async () => {
      const isUnsafe = (await allWarnings(node)).some(({ code }) => code === "LOG_UNSAFE");
      expect(isUnsafe).toBe(age > 0);
    });
  }
}

const operator = async <T>(act: (operator: NatsOperator) => Promise<T>): Promise<T> =>
  await NatsOperator.at(scene.nats.url, act);
const allWarnings = async (
  node: CairnNode,
): Promise<readonly { readonly code: string; readonly hint: string }[]> => (await node.status()).log.warnings;
/** Those about removed messages. Examinations of other nodes change the stream's settings. */
const warnings = async (node: CairnNode): ReturnType<typeof allWarnings> =>
  (await allWarnings(node)).filter(({ code }) => code !== "LOG_UNSAFE");
const firstInLog = async (): Promise<number> => {
  const log = await openNatsTxLog({ servers: [scene.nats.url] });
  const { first } = await log.bounds();
  await log.close();
  return first;
};

async function command(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await cairn(args, new CapturedTerminal({ cwd: scene.folder, env: {} }));
  expect([code, stderr]).toEqual([0, expect.any(String)]);
  return stdout;
}

describe("messages that something else than Cairn removed", () => {
  it(
    "are reported as the transactions that they were, also of a log that continues another one",
    { tags: "rest/slow" },
    async () => {
      const node = await watching("a");
      const end = await put(node, 0, 5, "v");
      await saveCheckpoint(node);
      await scene.stop(node);
      await scene.loseLog();
      await command("log", "recover");
      const again = await watching("a");
      const last = await put(again, 5, 10, "v");
      await saveCheckpoint(again);
      await operator(async (nats) => await nats.purgeBefore(last - end));
      const message = expect.stringMatching(
        `^Transactions ${end + 1} to ${last - 1} were removed from the log`,
      );
      await vi.waitFor(async () => expect(await warnings(again)).toMatchObject([{ message }]));
    },
  );

  it(
    "are reported although a checkpoint contains them, also after a restart and by other nodes, until the hint is followed",
    { tags: "rest/slow" },
    async () => {
      const node = await watching("a");
      const last = await put(node, 0, 5, "v");
      await saveCheckpoint(node);
      await operator(async (nats) => await nats.purgeBefore(last));
      await vi.waitFor(async () => expect(await warnings(node)).toMatchObject([REMOVED]));
      const { findings, verdict } = await node.status();
      expect(findings).toMatchObject([{ code: "log-at-risk", severity: "attention", error: "LOG_TRIMMED" }]);
      expect(verdict.state).toBe("attention");
      await scene.stop(node);
      const [again, other] = [await watching("a"), await watching("b")];
      for (const one of [again, other]) expect(await warnings(one)).toMatchObject([REMOVED]);

      await put(again, 5, 10, "v");
      const [{ hint } = { hint: "" }] = await warnings(again);
      const printed = Array.from(
        hint.matchAll(/cairn ([a-z]+ [a-z]+(?: --keep \w+)?)/g),
        ([, words = ""]) => words,
      );
      expect(printed).toEqual(["checkpoint create", "checkpoint verify", "log trim --keep P9999D"]);
      for (const words of printed)
        await command(...words.split(" "), ...(words.startsWith("log") ? [] : ["--url", again.url ?? ""]));
      for (const one of [again, other]) await vi.waitFor(async () => expect(await warnings(one)).toEqual([]));
      expect(await firstInLog()).toBe(last);
      const joined = await watching("c");
      expect([await warnings(joined), await joined.digest()]).toEqual([[], await again.digest()]);

      // Whatever is removed later is reported again.
      await saveCheckpoint(again);
      await operator(async (nats) => await nats.purgeBefore(last + 3));
      await vi.waitFor(async () => expect(await warnings(other)).toMatchObject([REMOVED]));
    },
  );

  it(
    "are not taken for those that Cairn trimmed, whichever node or command did",
    { tags: "rest/slow" },
    async () => {
      const nodes = [await watching("a"), await watching("b")] as const;
      for (const at of [0, 5]) {
        await put(nodes[0], at, at + 5, "v");
        await command("checkpoint", "verify", await saveCheckpoint(nodes[0]), "--url", nodes[0].url ?? "");
        expect(await command("log", "trim", "--keep", "PT0S")).toMatch(
          at === 0 ? /^trimmed messages 1 to 5 / : /^nothing/,
        );
        await command("checkpoint", "prune", "--retain-at-least", "1");
      }
      expect(await command("log", "trim", "--keep", "PT0S")).toMatch(/^trimmed messages 6 to 10 /);
      for (const node of [...nodes, await watching("c")]) {
        await examined(node);
        expect(await warnings(node)).toEqual([]);
      }
    },
  );

  it(
    "would not be distinguished without a record, so a log is not trimmed if the store accepts none",
    { tags: "rest/slow" },
    async () => {
      const node = await watching("a");
      await put(node, 0, 5, "v");
      await command("checkpoint", "verify", await saveCheckpoint(node), "--url", node.url ?? "");
      const denied = faultyStore(store, {
        fail: ({ method }) => (method === "create" ? new CairnError("STORE_DENIED", "Denied.") : undefined),
      });
      const log = await openNatsTxLog({ servers: [scene.nats.url] });
      const options = { log, kvFormat: LEVEL_FORMAT, stores: [store] };
      await expect(trimLog({ ...options, recordIn: denied })).rejects.toMatchObject({ code: "STORE_DENIED" });
      expect((await log.bounds()).first).toBe(1);
      await trimLog({ ...options, recordIn: store });
      expect((await log.bounds()).first).toBe(6);
      await log.close();
    },
  );
});
