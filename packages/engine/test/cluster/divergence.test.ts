// @module-tag nats
import { cp, readdir, rename, rm } from "node:fs/promises";
import path from "node:path";
import { filesystemStore } from "@cairn/checkpoint";
import { levelProvider } from "@cairn/kv";
import { describe, expect, test, vi } from "vitest";
import type { CairnNode } from "../../src/node/node.ts";
import { emptyState } from "../../src/index/rows/index-state.ts";
import { IndexStore } from "../../src/index/index-store.ts";
import { documentRowKey } from "../../src/index/rows/row-keys.ts";
import { readLogIdentity } from "../../src/log/log-identity.ts";
import { openNatsTxLog } from "@cairn/log-nats/src/nats-tx-log";
import type { PeerChannel } from "../../src/log/peer-channel.ts";
import type { LogMessage, TxLog } from "../../src/log/tx-log.ts";
import type { System } from "../../src/api/system.ts";
import { encodeTransaction } from "../../src/transactions/transaction-codec.ts";
import { NatsOperator } from "@cairn/log-nats/testing";
import { quietSystem } from "@cairn/test-support/nodes/quiet-system";
import { ClusterScene, put, type SceneOptions } from "@cairn/test-support/nodes/cluster-scene";
import { statusOf } from "./responded.ts";
import { saveCheckpoint } from "@cairn/test-support/stores/save-checkpoint";
import { wrapped } from "@cairn/text";

const it = test.extend<{ scene: ClusterScene }>({
  scene: async ({ onTestFinished }, use) => {
    const scene = await ClusterScene.open();
    onTestFinished(() => scene.close());
    await use(scene);
  },
});

const OFTEN: SceneOptions = { compareEveryMs: 200 };
const PATIENT = { interval: 50 };

/** The options of nodes that cannot reach each other. */
const alone = (scene: ClusterScene): SceneOptions => withPeers(scene, () => undefined);
/** The options of nodes that respond but query no other node, as if their server did not permit it. */
const mute = (scene: ClusterScene): SceneOptions =>
  withPeers(scene, (peers) => peers && { ...answering(peers), ask: () => nobody() });

function withPeers(
  scene: ClusterScene,
  change: (peers: PeerChannel | undefined) => PeerChannel | undefined,
): SceneOptions {
  const openTxLog: System["openTxLog"] = async ({ signal }) => {
    const log = await openNatsTxLog({ servers: [scene.nats.url], signal });
    const peers = change(log.peers);
    return wrapped<TxLog>(log, { peers });
  };
  return { parts: { openTxLog } };
}

/** Returns the options of {@link alone}, with another store to restore from. */
function withRestoreFrom(scene: ClusterScene, older: string): SceneOptions {
  const { parts = {} } = alone(scene);
  const { openTxLog } = parts;
  if (openTxLog === undefined) throw new Error("it says how the log is opened");
  const { checkpointer } = quietSystem({ folder: scene.folder, nodeId: "c", openTxLog });
  if (checkpointer === undefined) throw new Error("it has a checkpoint store");
  const restoreFrom = [checkpointer.store, filesystemStore({ path: older })];
  return { parts: { ...parts, checkpointer: { ...checkpointer, restoreFrom } } };
}

function answering(peers: PeerChannel): Pick<PeerChannel, "address" | "maxAnswerBytes" | "serve"> {
  const { address, maxAnswerBytes } = peers;
  return { address, maxAnswerBytes, serve: (...how) => peers.serve(...how) };
}

async function* nobody(): AsyncGenerator<Uint8Array> {}

async function movedAside(node: CairnNode): Promise<readonly { code: string; message: string }[]> {
  return (await node.status()).join.movedAside;
}

/** Waits until the node has replaced its index, agrees with the log, and has no more doubts. */
async function isRightAgain(scene: ClusterScene, node: CairnNode): Promise<void> {
  await vi.waitFor(async () => {
    expect(await movedAside(node)).toMatchObject([{ code: "INDEX_CORRUPT" }]);
    expect(node.phase).toBe("ready");
    const { txId, digest } = await node.digest();
    expect(digest).toBe((await scene.fold(txId)).digest());
    expect((await node.status()).index.divergence).toBeNull();
  }, PATIENT);
}

async function moveContents(from: string, to: string): Promise<void> {
  await cp(from, to, { recursive: true });
  for (const name of await readdir(from)) await rm(path.join(from, name), { recursive: true });
}

/** Removes a document from a stopped node's index, like damage that hides a row. */
async function hide(scene: ClusterScene, place: string, name: string): Promise<void> {
  const kv = await levelProvider().open(path.join(scene.dbDir(place), "live"));
  await kv.batch([{ type: "del", key: documentRowKey("things", `default/${name}`) }]);
  await kv.close();
}

/** Replaces a stopped node's index with the index of a different history of the log, in which one message differs. */
async function forge(scene: ClusterScene, place: string, at: number): Promise<void> {
  const log = await openNatsTxLog({ servers: [scene.nats.url] });
  const identity = await readLogIdentity(log);
  if (identity === undefined) throw new Error("there is a log");
  const messages: LogMessage[] = [];
  for (let position = 1; position <= identity.bounds.last; position += 1) {
    const message = await log.fetch(position);
    if (message === undefined) throw new Error("the log is intact");
    const payload = encodeTransaction({ ops: [["put", "things", "default/forged", at]] }, identity.id);
    messages.push(position === at ? { ...message, payload } : message);
  }
  await log.close();
  const live = path.join(scene.dbDir(place), "live");
  await rm(live, { recursive: true, force: true });
  const index = await IndexStore.open(await levelProvider().open(live), emptyState(identity));
  await index.apply(messages);
  await index.close();
}

describe("nodes that reach each other", () => {
  it(
    "find the one of three that derived a different result from a transaction, and only that node is rebuilt",
    { tags: "rest/slow" },
    async ({ scene }) => {
      const [a, b, c] = await Promise.all(["a", "b", "c"].map((id) => scene.ready(id, OFTEN)));
      if (a === undefined || b === undefined || c === undefined) throw new Error("three nodes");
      const last = await put(a, 0, 5, "right");
      await c.await(last);
      await scene.stop(c);
      await hide(scene, "c", "k2");
      const wrong = await scene.ready("c", OFTEN);
      const guarded: [string, string, string, number] = ["match", "things", "default/k2", 4];
      const { txId } = await a.submit({ ops: [guarded as never, ["put", "things", "default/k2", "newer"]] });
      expect(await a.await(txId)).toMatchObject({ committed: true });
      await isRightAgain(scene, wrong);
      expect(await wrong.outcome(txId)).toMatchObject({ committed: true });
      for (const node of [a, b]) {
        expect(await movedAside(node)).toEqual([]);
        expect(node.phase).toBe("ready");
      }
    },
  );

  it(
    "find the one that has a different history with the same last message",
    { tags: "rest/slow" },
    async ({ scene }) => {
      const a = await scene.ready("a", OFTEN);
      const c = await scene.ready("c", OFTEN);
      await c.await(await put(a, 0, 20, "right"));
      await scene.stop(c);
      await forge(scene, "c", 7);
      const wrong = await scene.ready("c", OFTEN);
      await isRightAgain(scene, wrong);
      expect(await movedAside(a)).toEqual([]);
    },
  );

  it("are compared by cairn status --cluster, which fails while they differ", async ({ scene }) => {
    const a = await scene.ready("a", mute(scene));
    const c = await scene.ready("c", mute(scene));
    await c.await(await put(a, 0, 5, "right"));
    const same = await statusOf(scene, 2);
    expect(same).toMatchObject({ code: 0 });
    expect(same.stdout).toContain("The same past at transaction 6 on 2 nodes.");
    await scene.stop(c);
    await forge(scene, "c", 3);
    await scene.ready("c", mute(scene));
    const [differs, json] = await Promise.all([statusOf(scene, 2), statusOf(scene, 2, "--json")]);
    expect(differs).toMatchObject({ code: 3 });
    expect(differs.stdout).toContain("The nodes have different transactions at transaction 6");
    expect(differs.stderr).toContain(
      "LOG_DIFFERENT: The nodes have different transactions at transaction 6: ",
    );
    const { past } = JSON.parse(json.stdout) as { past: object };
    expect(past).toEqual({ txId: 6, differ: "history" });
  });
});

describe.concurrent("nodes that only share a checkpoint store", () => {
  it(
    "find a difference at the next look, save nothing until it is resolved, and skip the wrong checkpoint",
    { tags: "rest/slow" },
    async ({ scene }) => {
      const a = await scene.ready("a", alone(scene));
      const c = await scene.ready("c", alone(scene));
      await c.await(await put(a, 0, 20, "right"));
      await scene.stop(c);
      await forge(scene, "c", 7);
      const wrong = await scene.ready("c", alone(scene));
      const saved = await wrong.checkpoint().done;
      await expect(a.checkpoint().done).rejects.toMatchObject({ code: "LOG_DIFFERENT" });
      // No node trusts another's claim: the correct node checks its own index, and then replaces the wrong checkpoint.
      const again = await vi.waitFor(async () => {
        const result = await a.checkpoint().done;
        expect(result).toMatchObject({ checkpoint: { node: "a" } });
        return result;
      }, PATIENT);
      expect(await movedAside(a)).toEqual([]);
      expect(saved).not.toEqual(again);
      await expect(wrong.checkpoint().done).rejects.toMatchObject({ code: "LOG_DIFFERENT" });
      await isRightAgain(scene, wrong);
    },
  );

  it.for<"the index" | "the checkpoint">(["the index", "the checkpoint"])(
    "halt if nothing from before the divergence remains, and continue once an operator has decided for %s",
    { tags: "rest/slow" },
    async (kept, { scene }) => {
      const a = await scene.ready("a", alone(scene));
      const c = await scene.ready("c", alone(scene));
      await c.await(await put(a, 0, 20, "right"));
      await scene.stop(c);
      await forge(scene, "c", 7);
      await saveCheckpoint(a);
      await NatsOperator.at(scene.nats.url, async (nats) => await nats.purgeBefore(15));
      const wrong = await scene.ready("c", alone(scene));
      const { digest: forged } = await wrong.digest();
      await expect(wrong.checkpoint().done).rejects.toMatchObject({ code: "LOG_DIFFERENT" });
      await vi.waitFor(() => expect(wrong.phase).toBe("failed"), PATIENT);
      const { failure } = await wrong.status();
      expect(failure).toMatchObject({ code: "LOG_DIFFERENT" });
      expect(failure?.message).toContain("nothing remains to show which of them is right");
      expect(failure?.hint).toContain("if the index is, move the checkpoint's files out of the store");
      expect(failure?.hint).toContain("stop the node and move its <db-dir>/live away");
      await scene.stop(wrong);
      const away = path.join(scene.folder, "away");
      if (kept === "the index") await moveContents(path.join(scene.folder, "checkpoints"), away);
      else await rename(path.join(scene.dbDir("c"), "live"), away);
      const again = await scene.ready("c", alone(scene));
      const { digest } = await again.digest();
      expect(digest).toBe(kept === "the index" ? forged : (await a.digest()).digest);
      // If the checkpoint was kept, there is nothing to save. If the index was kept, it is saved, because the store is
      // empty.
      const saved = await again.checkpoint().done;
      expect("skipped" in saved).toBe(kept === "the checkpoint");
      expect(await again.status()).toMatchObject({ phase: "ready", index: { divergence: null } });
    },
  );

  it(
    "trust the history that the log showed, whatever a node saved that had continued another one",
    { tags: "rest/slow" },
    async ({ scene }) => {
      const rebuild = {
        ...alone(scene).parts,
        onLogMismatch: { regressed: "rebuild", different: "halt" },
      } as const;
      const own = filesystemStore({ path: path.join(scene.folder, "own") });
      const lost = await scene.ready("lost", alone(scene));
      await put(lost, 0, 3, "common");
      await scene.stop(lost);
      await scene.copyLog();
      const again = await scene.ready("lost", alone(scene));
      const last = await put(again, 3, 5, "lost");
      await scene.stop(again);
      await scene.rollBackLog();
      const right = await scene.ready("right", { store: own, parts: rebuild });
      await put(right, 10, 14, "right");
      await scene.stop(right);
      await NatsOperator.at(scene.nats.url, async (nats) => await nats.purgeBefore(last + 1));
      // Nothing shows this node, which is the first one to start, that the log has lost its transactions.
      const wrong = await scene.ready("lost", alone(scene));
      await put(wrong, 20, 22, "later");
      await saveCheckpoint(wrong);
      const judge = await scene.ready("right", alone(scene));
      await vi.waitFor(async () => {
        expect(await judge.checkpoint().done).toMatchObject({ checkpoint: { node: "right" } });
      }, PATIENT);
      expect(await judge.status()).toMatchObject({ phase: "ready", index: { divergence: null } });
      // A restart proves nothing either, although the log holds the message with which the index ends now.
      await scene.stop(wrong);
      const restarted = await scene.ready("lost", alone(scene));
      await expect(restarted.checkpoint().done).rejects.toMatchObject({ code: "LOG_DIFFERENT" });
      await vi.waitFor(() => expect(restarted.phase).toBe("failed"), PATIENT);
      await scene.stop(restarted);
      // As the hint of the failed node says.
      await rename(path.join(scene.dbDir("lost"), "live"), path.join(scene.folder, "away"));
      const cured = await scene.ready("lost", alone(scene));
      expect(await cured.digest()).toEqual(await judge.digest());
    },
  );

  it(
    "continue from a store with an older checkpoint once it is configured",
    { tags: "rest/slow" },
    async ({ scene }) => {
      const a = await scene.ready("a", alone(scene));
      const c = await scene.ready("c", alone(scene));
      await put(a, 0, 1_000, "right");
      const older = await a.checkpoint().done;
      await c.await(await put(a, 1_000, 1_060, "right"));
      await moveContents(path.join(scene.folder, "checkpoints"), path.join(scene.folder, "older"));
      await scene.stop(c);
      await forge(scene, "c", 1_050);
      await saveCheckpoint(a);
      await NatsOperator.at(scene.nats.url, async (nats) => await nats.purgeBefore(900));
      const wrong = await scene.ready("c", alone(scene));
      await expect(wrong.checkpoint().done).rejects.toMatchObject({ code: "LOG_DIFFERENT" });
      await vi.waitFor(() => expect(wrong.phase).toBe("failed"), PATIENT);
      const { failure } = await wrong.status();
      expect(failure?.hint).toContain("a checkpoint at or before transaction 1024 and the log after it");
      await scene.stop(wrong);
      const again = await scene.ready("c", withRestoreFrom(scene, path.join(scene.folder, "older")));
      await expect(again.checkpoint().done).rejects.toMatchObject({ code: "LOG_DIFFERENT" });
      await vi.waitFor(async () => {
        expect(await movedAside(again)).toMatchObject([{ code: "INDEX_CORRUPT" }]);
        expect(again.phase).toBe("ready");
        expect(await again.digest()).toEqual(await a.digest());
      }, PATIENT);
      expect(older).toMatchObject({ checkpoint: { node: "a" } });
    },
  );
});
