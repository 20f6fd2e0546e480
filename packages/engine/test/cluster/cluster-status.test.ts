// @module-tag nats
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { s3Store } from "@cairn/checkpoint-s3";
import type { PeerStatus } from "@cairn/client";
import { documentRowKey } from "../../src/index/rows/row-keys.ts";
import type { CairnNode } from "../../src/node/node.ts";
import { startNode } from "@cairn/node";
import { NatsOperator } from "@cairn/log-nats/testing";
import { openNatsTxLog } from "@cairn/log-nats/src/nats-tx-log";
import type { System } from "@cairn/engine";
import { FaultyTxLog } from "@cairn/engine/testing";
import { cairn, CapturedTerminal } from "@cairn/test-support/nodes/captured-terminal";
import { ClusterScene, put } from "@cairn/test-support/nodes/cluster-scene";
import { statusOf } from "./responded.ts";
import { saveCheckpoint } from "@cairn/test-support/stores/save-checkpoint";

let scene: ClusterScene;
beforeEach(async () => {
  scene = await ClusterScene.open();
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await scene.close();
});

interface ShownNode {
  readonly node: string;
  readonly instance: string;
  readonly sameLog: boolean | null;
  readonly status: PeerStatus;
  readonly digest?: { readonly txId: number; readonly digest: string };
  readonly check?: { readonly agrees: boolean; readonly rebuilt: string; readonly basis: string };
}

interface Shown {
  readonly nodes: readonly ShownNode[];
  readonly sameId: readonly string[];
  readonly comparison: {
    readonly txId: number;
    readonly differ: boolean;
    readonly wrong: readonly string[];
  } | null;
}

/** Returns what the command shows once this number of nodes has responded. */
async function shown(nodes: number, ...args: string[]): Promise<Shown & { readonly code: number }> {
  const { code, stdout } = await statusOf(scene, nodes, "--json", ...args);
  return { ...(JSON.parse(stdout) as Shown), code };
}

/**
 * Like {@link shown}, but the command runs only once, with time for the responses of a busy machine: it makes a wrong
 * node replace its index.
 */
async function shownOnce(...args: string[]): Promise<Shown & { readonly code: number }> {
  const { code, stdout, stderr } = await scene.status("--json", ...args);
  if (stdout === "") throw new Error(stderr);
  return { ...(JSON.parse(stdout) as Shown), code };
}

/** Changes a document in a stopped node's index. The document is still JSON, and LevelDB's checksums are correct. */
async function alterDocument(place: string, key: string): Promise<void> {
  await scene.alter(place, documentRowKey("things", key), (text) => text.replace("right", "wrong"));
}

async function valueOf(node: CairnNode, name: string): Promise<unknown> {
  return JSON.parse((await node.get({ bucket: "things", namespace: "default", name }))?.json ?? "null");
}

describe("cairn status --cluster", () => {
  it("shows every running node with its position, and none that is down", { tags: "rest/slow" }, async () => {
    const a = await scene.ready("a");
    const b = await scene.ready("b");
    const c = await scene.ready("c");
    const txId = await put(a, 0, 5, "right");
    await Promise.all([b.await(txId), c.await(txId)]);
    const { code, stdout, stderr } = await statusOf(scene, 3);
    expect(stderr).toBe("");
    expect(code).toBe(0);
    expect(stdout).toMatch(/^Log cairn \(id [0-9a-f-]{36}\), transactions up to 6; 3 nodes responded$/m);
    for (const id of ["a", "b", "c"]) {
      expect(stdout).toMatch(
        new RegExp(`^${id} +\\S+ +\\d+\\.\\d+\\.\\d+ +ready +6 +0 +(?:unknown +unknown|none +none)$`, "m"),
      );
    }
    await scene.stop(c);
    const [left, enough, missing] = await Promise.all([
      shown(2),
      statusOf(scene, 2, "--expect", "2"),
      statusOf(scene, 2, "--expect", "3"),
    ]);
    expect(left.nodes.map(({ node }) => node)).toEqual(["a", "b"]);
    expect(enough.code).toBe(0);
    expect(missing.code).toBe(1);
    expect(missing.stdout).toContain("2 nodes responded");
    expect(missing.stderr).toMatch(/^NOT_FOUND: 2 nodes responded, but 3 were expected\.\n {2}hint: /);
  });

  it("reports that no node responds", async () => {
    await scene.stop(await scene.ready("a"));
    const { code, stdout, stderr } = await scene.status();
    expect({ code, stdout }).toEqual({
      code: 3,
      stdout: expect.stringMatching(/^Log .* up to 1, .*\nStore .*\nIndex /),
    });
    expect(stderr).toMatch(
      /^NOT_READY: No node of the log "cairn" responded .*\n {2}hint: .*_CAIRN\.nodes\.cairn/,
    );
  });

  it(
    "shows both of two nodes with the same id, and reports the shared id",
    { tags: "rest/slow" },
    async () => {
      await scene.ready("a");
      await scene.ready("a", { place: "another-a" });
      const [{ stdout }, { nodes, sameId }] = await Promise.all([statusOf(scene, 2), shown(2)]);
      expect(stdout).toMatch(
        /^Attention +a is the id of 2 nodes, on .* and on .*\.\n.*\n +Give each node its own id \(.*CAIRN_NODE_ID\), .* second process\.$/m,
      );
      expect(nodes.map(({ node }) => node)).toEqual(["a", "a"]);
      expect(new Set(nodes.map(({ instance }) => instance)).size).toBe(2);
      expect(sameId).toEqual(["a"]);
    },
  );

  it(
    "shows a node that failed because of another log, and does not compare it",
    { tags: "rest/slow" },
    async () => {
      const old = await scene.ready("old");
      await put(old, 0, 3, "old");
      await scene.stop(old);
      await NatsOperator.at(scene.nats.url, async (nats) => await nats.deleteStream());
      // It begins a log on purpose, although the index of the other one is in the same folder.
      const onLogMismatch = { regressed: "rebuild", different: "rebuild" } as const;
      const a = await scene.ready("a", { parts: { checkpointer: undefined, onLogMismatch } });
      await put(a, 0, 3, "right");
      const halted = await scene.start("old");
      await vi.waitFor(() => expect(halted.phase).toBe("failed"), { timeout: 30_000 });
      const [{ nodes, comparison, code }, { stdout, stderr }] = await Promise.all([
        shown(2, "--digest"),
        statusOf(scene, 2, "--expect", "3"),
      ]);
      expect(code).toBe(3);
      expect(nodes.map(({ node, sameLog }) => [node, sameLog])).toEqual([
        ["a", true],
        ["old", false],
      ]);
      expect(comparison).toMatchObject({ differ: false });
      expect(stdout).toMatch(/^Log cairn .*; 2 nodes responded$/m);
      expect(stdout).toMatch(/^old .* failed .* [0-9a-f-]{36}$/m);
      expect(stdout).toMatch(/^Failing +old: LOG_DIFFERENT: /m);
      expect(stderr).toMatch(/^NOT_READY: old: LOG_DIFFERENT: .*\n {2}hint: /);
    },
  );

  it("shows a node that waits for a store among the others", { tags: "rest/slow" }, async () => {
    await scene.ready("a");
    const credentials = { accessKeyId: "a", secretAccessKey: "b" };
    const store = s3Store({ bucket: "nowhere", endpoint: "http://127.0.0.1:9", credentials, maxAttempts: 1 });
    const joining = await scene.start("joining", { store });
    await vi.waitFor(async () => expect((await joining.status()).failure?.code).toBe("STORE_UNREACHABLE"), {
      timeout: 30_000,
    });
    const [{ code, stdout }, { nodes }] = await Promise.all([statusOf(scene, 2, "--expect", "2"), shown(2)]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^joining .* restoring +unknown +unknown +unknown +unknown +unknown$/m);
    expect(nodes.map(({ sameLog }) => sameLog)).toEqual([true, null]);
  });

  it(
    "shows the nodes of a log whose stream no longer exists, and how to recover it",
    { tags: "rest/slow" },
    async () => {
      const a = await scene.ready("a");
      const b = await scene.ready("b");
      await put(a, 0, 3, "right");
      await saveCheckpoint(a);
      await NatsOperator.at(scene.nats.url, async (nats) => await nats.deleteStream());
      for (const node of [a, b])
        await vi.waitFor(() => expect(node.phase).toBe("failed"), { timeout: 30_000 });
      const { code, stdout, stderr } = await statusOf(scene, 2);
      expect([code, stderr]).toEqual([3, expect.stringMatching(/^NOT_READY: a: LOG_DIFFERENT: .*/)]);
      expect(stdout).toMatch(/^Log cairn does not exist; 2 nodes responded$/m);
      expect(stdout).toMatch(
        /^Failing +a: LOG_DIFFERENT: .*\n.*\n.* cairn log recover, which .* continues after transaction 4;/m,
      );
      await Promise.all([scene.stop(a), scene.stop(b)]);
      const none = await scene.status("--timeout", "PT0.5S");
      expect(none).toMatchObject({
        code: 1,
        stderr: expect.stringMatching(/&& .*cairn log recover, which .* continues after transaction 4;/),
      });
    },
  );

  it("shows the only node of an embedded log, and explains why it is the only one", async () => {
    const node = await startNode(
      { "cairn/node": { id: "n" }, "cairn/http-server": { port: 0 } },
      { env: {}, cwd: scene.folder },
    );
    await node.ready;
    const terminal = new CapturedTerminal({ cwd: scene.folder, env: { CAIRN_NODE_ID: "n" } });
    const { code, stdout, stderr } = await cairn(["status", "--cluster", "--url", node.url ?? ""], terminal);
    await node.close();
    expect(code).toBe(0);
    expect(stderr).toContain("an embedded log has a single node");
    expect(stdout).toMatch(/^Phase +ready/m);
  });

  it("is implied by options that only a cluster has", async () => {
    for (const option of ["--digest", "--expect=2", "--timeout=PT1S"]) {
      const { stderr } = await cairn(["status", option]);
      expect(stderr).toContain("an embedded log has a single node");
    }
  });
});

describe("cairn status --cluster --digest", () => {
  it(
    "shows the digest of the log's fold for every node, at one transaction, while the nodes keep applying transactions",
    { tags: "rest/slow" },
    async () => {
      const a = await scene.ready("a");
      const b = await scene.ready("b");
      await put(a, 0, 20, "right");
      const stop = new AbortController();
      const writing = (async () => {
        for (let n = 0; !stop.signal.aborted; n += 1) await put(b, n % 20, (n % 20) + 1, `again ${n}`);
      })();
      const { nodes, comparison, code } = await shown(2, "--digest");
      stop.abort();
      await writing;
      expect(code).toBe(0);
      const txId = comparison?.txId ?? 0;
      const digest = (await scene.fold(txId)).digest();
      expect(nodes.map((node) => node.digest)).toEqual([
        { txId, digest },
        { txId, digest },
      ]);
      const now = await a.digest();
      expect(now.txId).toBeGreaterThan(txId);
      expect(comparison).toMatchObject({ differ: false, wrong: [] });
    },
  );

  it(
    "finds the node with an altered row, which reports INDEX_CORRUPT and continues from a rebuilt index",
    { tags: "rest/slow" },
    async () => {
      const a = await scene.ready("a");
      const b = await scene.ready("b");
      const c = await scene.ready("c");
      const txId = await put(a, 0, 10, "right");
      await Promise.all([b.await(txId), c.await(txId)]);
      await scene.stop(b);
      await alterDocument("b", "default/k3");
      const altered = await scene.ready("b");
      // The node's own checkpoints have the same fault, so the node must not continue from them.
      await saveCheckpoint(altered);
      expect(await valueOf(altered, "k3")).toBe("wrong");

      const { code, stdout, stderr } = await scene.status("--digest");
      expect(code).toBe(1);
      expect(stderr).toMatch(/^INDEX_CORRUPT: The index does not match the log: b\.$/m);
      expect(stdout).toMatch(/^a .* matches the log$/m);
      expect(stdout).toMatch(/^b .* INDEX_CORRUPT$/m);
      expect(stdout).toMatch(/^c .* matches the log$/m);
      expect(stdout).toMatch(/^a agrees with its rebuild from the log from its first message\.$/m);

      await vi.waitFor(async () => expect(await valueOf(altered, "k3")).toBe("right"), { timeout: 30_000 });
      const { join } = await altered.status();
      expect(join.movedAside).toMatchObject([{ code: "INDEX_CORRUPT" }]);
      expect(join.restoredFrom).toBeNull();
      await altered.await(await put(a, 10, 12, "right"));
      expect((await altered.digest()).digest).toBe((await scene.fold()).digest());
      expect((await shown(3, "--digest")).comparison?.differ).toBe(false);
    },
  );

  it(
    "says that the log's replicas differ if each of two nodes that differ agrees with its own rebuild",
    { tags: "rest/slow" },
    async () => {
      const a = await scene.ready("a");
      const txId = await put(a, 0, 5, "right");
      const openTxLog: System["openTxLog"] = async ({ signal }) => {
        const log = await openNatsTxLog({ servers: [scene.nats.url], signal });
        const replica = Object.assign(new FaultyTxLog(log), log.peers && { peers: log.peers });
        replica.faults.replace = (message) =>
          message.position === 3
            ? { ...message, payload: Buffer.from("what another server has there") }
            : message;
        return replica;
      };
      const b = await scene.ready("b", { parts: { openTxLog } });
      await b.await(txId);
      const { code, stdout, stderr } = await scene.status("--digest");
      expect(stdout).toMatch(/^a agrees with its rebuild from the log from its first message\.$/m);
      expect(stdout).toMatch(/^b agrees with its rebuild from the log from its first message\.$/m);
      expect(stderr).toMatch(/^LOG_DIFFERENT: .*its replicas on the servers differ\.$/m);
      expect(stderr).toContain(
        "nats stream edit cairn --replicas=1, wait until nats stream info cairn shows",
      );
      expect(code).toBe(3);
    },
  );

  it("finds the wrong nodes even if they are the majority and agree", { tags: "rest/slow" }, async () => {
    const a = await scene.ready("a");
    const b = await scene.ready("b");
    await put(a, 0, 5, "right");
    await b.await(6);
    await scene.stop(b);
    await alterDocument("b", "default/k1");
    await scene.copyIndex("b", "c");
    await scene.ready("b");
    await scene.ready("c");
    const { nodes, code } = await shownOnce("--digest");
    expect(code).toBe(1);
    const { rebuilt } = nodes[0]?.check ?? {};
    expect(rebuilt).toBe((await scene.fold(6)).digest());
    expect(nodes.map(({ node, check }) => [node, check?.agrees])).toEqual([
      ["a", true],
      ["b", false],
      ["c", false],
    ]);
  });

  it(
    "repeats the query for a later transaction if documents have been evicted since",
    { tags: "rest/slow" },
    async () => {
      const a = await scene.ready("a");
      await put(a, 0, 5, "right");
      const stop = new AbortController();
      const evicting = (async () => {
        for (let n = 0; !stop.signal.aborted; n += 1) {
          const key = `default/e${n}`;
          await a.submit({ ops: [["put", "things", key, n]] });
          const { txId } = await a.submit({ ops: [["evict", "things", key]] });
          await a.await(txId);
          if (n === 50) stop.abort();
        }
      })();
      const { nodes, comparison } = await shown(1, "--digest");
      await evicting;
      expect(nodes[0]?.digest?.digest).toBe((await scene.fold(comparison?.txId)).digest());
    },
  );
});
