// @module-tag nats
import { cp, mkdir, mkdtemp, readdir, rm, truncate } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { CairnNode } from "../../src/node/node.ts";
import { startNode } from "@cairn/node";
import { openEmbeddedTxLog } from "../../src/log/embedded/embedded-tx-log.ts";
import { openNatsTxLog } from "@cairn/log-nats/src/nats-tx-log";
import type { LogMessage, TxLog } from "../../src/log/tx-log.ts";
import { LogFold } from "../../testing/log-fold.ts";
import { NatsOperator, type NatsTestServer, startNatsServer } from "@cairn/log-nats/testing";
import { takeMessages } from "../../testing/log-messages.ts";
import { cairn, CapturedTerminal, type CommandResult } from "@cairn/test-support/nodes/captured-terminal";
import { hurryClock } from "@cairn/test-support/nodes/hurried-clock";
import { saveCheckpoint } from "@cairn/test-support/stores/save-checkpoint";

let folder = "";
let nats: NatsTestServer | undefined;
let nodes: CairnNode[] = [];
beforeEach(async () => {
  hurryClock();
  folder = await mkdtemp(path.join(tmpdir(), "cairn-recover-"));
});
afterEach(async () => {
  await closeAll();
  await nats?.close();
  nats = undefined;
  await rm(folder, { recursive: true, force: true });
});

async function closeAll(): Promise<void> {
  await Promise.all(nodes.map((node) => node.close()));
  nodes = [];
}

function environment(id: string): Record<string, string> {
  const env = {
    CAIRN_NODE_ID: "n",
    CAIRN_CHECKPOINT_PATH: path.join(folder, "checkpoints"),
    CAIRN_INDEX_PATH: path.join(folder, `index-${id}`),
  };
  return nats === undefined ? env : { ...env, NATS_URL: nats.url };
}

/** Starts a node. The nodes differ only in their index folders. Only one node at a time can use an embedded log. */
async function start(id: string, regressed: "halt" | "rebuild" = "rebuild"): Promise<CairnNode> {
  const module = nats === undefined ? "cairn.embedded/->tx-log" : "cairn.nats/->tx-log";
  const node = await startNode(
    {
      "cairn/http-server": { host: "127.0.0.1", port: 0 },
      "cairn/tx-log": { "cairn/module": module, "on-log-mismatch": { regressed } },
    },
    { env: environment(id), cwd: folder },
  );
  nodes.push(node);
  return node;
}

async function started(id: string): Promise<CairnNode> {
  const node = await start(id);
  await node.ready;
  return node;
}

async function put(node: CairnNode, name: string, value: number): Promise<number> {
  const { txId } = await node.submit({ ops: [["put", "things", `default/${name}`, value]] });
  await node.await(txId);
  return txId;
}

async function log(...args: string[]): Promise<CommandResult> {
  return await logOf("cli", ...args);
}

/** Runs a command with the configuration of a node. */
async function logOf(id: string, ...args: string[]): Promise<CommandResult> {
  return await cairn(["log", ...args], new CapturedTerminal({ cwd: folder, env: environment(id) }));
}

async function openLog(): Promise<TxLog> {
  if (nats === undefined) return await openEmbeddedTxLog({ path: path.join(folder, "cairn-data", "n-log") });
  return await openNatsTxLog({ servers: [nats.url], signal: new AbortController().signal });
}

async function messages(): Promise<LogMessage[]> {
  const opened = await openLog();
  const { last } = await opened.bounds();
  const all = await takeMessages(opened, 1, last);
  await opened.close();
  return all;
}

async function loseLog(): Promise<void> {
  if (nats === undefined) {
    await rm(path.join(folder, "cairn-data", "n-log"), { recursive: true });
    return;
  }
  await nats.stop();
  await rm(path.join(nats.storeDir, "jetstream"), { recursive: true });
  await nats.start();
}

async function failureOf(node: CairnNode) {
  await vi.waitFor(() => expect(node.phase).toBe("failed"), { timeout: 30_000 });
  return (await node.status()).failure;
}

const key = (name: string) => ({ bucket: "things", namespace: "default", name });

/**
 * Creates a log of nine transactions, with checkpoints at 4, 7 and 10. The index "old" has all of them, and the indexes
 * "early" and "seam" end at 4 and 7. `kept` contains the messages up to 7.
 */
async function lostLog(): Promise<{ names: string[]; kept: LogMessage[] }> {
  const names: string[] = [];
  for (const end of [4, 7, 10]) {
    const old = await started("old");
    for (let n = end === 4 ? 2 : end - 2; n <= end; n += 1) await put(old, `k${n % 4}`, n);
    names.push(await saveCheckpoint(old));
    await closeAll();
    const copy = path.join(folder, { 4: "index-early", 7: "index-seam" }[end] ?? "index-end");
    await cp(path.join(folder, "index-old"), copy, { recursive: true });
  }
  const kept = (await messages()).slice(0, 7);
  await loseLog();
  return { names, kept };
}

/**
 * Loses a log that a node follows: "kept" is in the checkpoint whose name is returned, and "lost" is in none. The node
 * has halted; with an embedded log, it was restarted.
 */
async function lostWhileRunning(): Promise<string> {
  const node = await started("old");
  await put(node, "kept", 1);
  const name = await saveCheckpoint(node);
  await put(node, "lost", 2);
  if (nats === undefined) {
    await closeAll();
    await loseLog();
  } else await NatsOperator.at(nats.url, async (operator) => await operator.deleteStream());
  const running = nats === undefined ? await start("old") : node;
  await failureOf(running);
  return name;
}

/** The tags of a test in which running nodes follow what happens to a log on NATS. */
function slowOnNats(kind: string): string[] {
  return kind === "NATS" ? ["rest/slow"] : [];
}

describe.each(["embedded", "NATS"])("a log that was lost (%s), recovered from a checkpoint", (kind) => {
  beforeEach(async () => {
    if (kind === "NATS") nats = await startNatsServer({ storeDir: path.join(folder, "nats") });
  });

  it(
    "continues from exactly that checkpoint on every node, with tx-ids, history and digest",
    { tags: "rest/slow" },
    async () => {
      const { names, kept } = await lostLog();
      const [, chosen = ""] = names;
      const kept3 = await log("recover", "--from", chosen);
      expect(kept3).toMatchObject({
        code: 1,
        stderr: expect.stringMatching(
          /^CONFLICT: .* would lack 3 transactions .*: the store shows .* up to 10\..*--yes/s,
        ),
      });
      const begun = await log("recover", "--from", chosen, "--yes", "--json");
      expect(begun.stderr).toBe("");
      const { id, offset } = JSON.parse(begun.stdout) as { id: string; offset: number };
      expect(offset).toBe(7);

      const a = await started("a");
      expect((await a.status()).join).toMatchObject({
        restoredFrom: { name: chosen, txId: 7 },
        skipped: [{ name: names[2], code: "LOG_DIFFERENT" }],
      });
      expect((await a.status()).log).toMatchObject({ id, firstTxId: 8, lastTxId: 8 });
      expect(await put(a, "k1", 100)).toBe(9);
      expect((await a.history(key("k1"))).versions.map(({ revision, json }) => [revision, json])).toEqual([
        [9, "100"],
        [5, "5"],
      ]);
      expect(await a.get(key("k1"), { asOf: { txId: 6 } })).toMatchObject({ revision: 5, json: "5" });
      expect(await a.get(key("k2"), { asOf: { txId: 9 } })).toMatchObject({ revision: 6 });
      // Transactions that only the lost end of the old log had are not attributed to the new log.
      expect(await a.get(key("k0"))).toMatchObject({ revision: 4 });
      const digest = await a.digest();
      await closeAll();

      const fold = new LogFold();
      for (const message of [...kept, ...(await messages())]) fold.apply(message);
      expect(digest).toEqual({ txId: 9, digest: fold.digest() });
      const b = await started("b");
      expect(await b.digest()).toEqual(digest);
      const saved = await saveCheckpoint(b);
      await closeAll();
      const c = await started("c");
      expect((await c.status()).join).toMatchObject({ restoredFrom: { name: saved, txId: 9 }, replayed: 0 });
      expect(await c.digest()).toEqual(digest);
      await closeAll();
      // An index that ends where the new log begins needs no checkpoint. A node that is restarted later continues like
      // any other.
      for (const index of ["seam", "a"]) {
        const node = await started(index);
        expect((await node.status()).join.restoredFrom).toBeNull();
        expect(await node.digest()).toEqual(digest);
        await closeAll();
      }
    },
  );

  it(
    "makes a node move aside an index that is beyond the checkpoint, or halt if configured to",
    { tags: "rest/slow" },
    async () => {
      const { names } = await lostLog();
      const recovered = await log("recover", "--from", names[1] ?? "", "--yes");
      expect([recovered.code, recovered.stdout]).toEqual([
        0,
        expect.stringMatching(
          kind === "NATS"
            ? /; running nodes follow it within about 15 seconds; cairn status --wait PT1M waits for a node\n3 transactions after it/
            : /; start the node to follow it\n3 transactions after it/,
        ),
      ]);
      const failure = await failureOf(await start("old", "halt"));
      expect(failure).toMatchObject({
        code: "LOG_REGRESSED",
        hint: expect.stringContaining("cairn log orphans"),
      });
      expect(failure?.message).toContain("after transaction 7");
      await closeAll();
      const rebuilt = await started("old");
      const { join } = await rebuilt.status();
      expect(join).toMatchObject({
        movedAside: [{ code: "LOG_REGRESSED" }],
        restoredFrom: { name: names[1] },
      });
      expect(join.orphans).toBe(3);
      expect((await rebuilt.digest()).txId).toBe(8);
    },
  );

  it(
    "makes a node replace an index that ends before the checkpoint, which has lost nothing",
    { tags: "rest/slow" },
    async () => {
      const { names } = await lostLog();
      expect((await log("recover", "--from", names[1] ?? "", "--yes")).code).toBe(0);
      await cp(path.join(folder, "index-early"), path.join(folder, "index-kept"), { recursive: true });
      const early = await start("early", "halt");
      await early.ready;
      const { join } = await early.status();
      expect(join).toMatchObject({
        movedAside: [
          {
            code: "LOG_TRIMMED",
            message: /after transaction 7; .* ends at transaction 4, and no log backup/,
          },
        ],
        restoredFrom: { name: names[1] },
        orphans: 0,
      });
      expect((await early.digest()).txId).toBe(8);
      await closeAll();
      // Without that checkpoint, it keeps its index.
      await rm(path.join(folder, "index-early"), { recursive: true });
      await cp(path.join(folder, "index-kept"), path.join(folder, "index-early"), { recursive: true });
      await rm(path.join(folder, "checkpoints"), { recursive: true });
      await mkdir(path.join(folder, "checkpoints"));
      expect(await failureOf(await start("early", "halt"))).toMatchObject({
        code: "LOG_TRIMMED",
        message: /continues log \S+, and no usable checkpoint or log backup leads to its transaction 7/,
      });
    },
  );

  it(
    "is the result of following any of the hints, even after an empty log was created in its place",
    { tags: slowOnNats(kind) },
    async () => {
      await lostWhileRunning();
      const [a] = nodes;
      if (a === undefined) throw new Error("no node");
      const hint = (await failureOf(a))?.hint ?? "";
      const [, wanted = ""] =
        /cairn (log recover) -j CONFIGURATION, which begins one that continues after transaction 3, from the index of this node;/.exec(
          hint,
        ) ?? [];
      // An embedded log belongs to one process at a time; nodes on NATS keep running.
      if (kind === "embedded") await closeAll();
      for (const command of ["status", "create"]) {
        expect(await logOf("old", command)).toMatchObject({
          code: 1,
          stderr: expect.stringMatching(/cairn log recover, which begins one/),
        });
      }
      expect((await logOf("old", "create", "--empty")).code).toBe(0);
      const [, ...words] = wanted.split(" ");
      expect((await logOf("old", ...words)).code).toBe(0);
      if (kind === "embedded") await started("old");
      for (const node of nodes) {
        await vi.waitFor(() => expect(node.phase).toBe("ready"), { timeout: 30_000 });
        expect(await node.get(key("kept"))).toMatchObject({ json: "1" });
        expect(await node.get(key("lost"))).toMatchObject({ json: "2" });
        expect((await node.status()).join.orphans).toBe(0);
      }
    },
  );

  it(
    "replaces an empty log once the node that followed it is stopped, but never a log to which anything was written",
    { tags: slowOnNats(kind) },
    async () => {
      const name = await lostWhileRunning();
      await closeAll();
      expect((await log("create", "--empty")).code).toBe(0);
      const early = await started("early");
      const refused = await log("recover", "--from", name, "--yes");
      expect(refused).toMatchObject({
        code: kind === "NATS" ? 1 : 3,
        stderr: expect.stringMatching(/[Ss]top/),
      });
      await early.close();
      expect((await log("recover", "--from", name, "--yes")).code).toBe(0);
      const again = await started("early");
      expect(await again.get(key("kept"))).toMatchObject({ json: "1" });
      expect((await again.status()).join.orphans).toBe(0);
      await closeAll();
      // The command recognizes what it began.
      expect(await log("recover", "--from", name)).toMatchObject({
        code: 0,
        stdout: expect.stringMatching(
          /^the log .* already continues after transaction .*; nothing was changed\n$/,
        ),
      });
      const written = await log("recover", "--at-tx", "1", "--yes");
      expect(written).toMatchObject({
        code: 1,
        stderr: expect.stringMatching(/^CONFLICT: .* already exists/),
      });
    },
  );

  it("is not created if there is a log, or from an incomplete checkpoint", async () => {
    const node = await started("a");
    await put(node, "x", 1);
    const name = await saveCheckpoint(node);
    await closeAll();
    expect(await log("recover", "--from", name)).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^CONFLICT: /),
    });
    await loseLog();
    const none = await log("recover", "--from", name.replace(/.{8}$/, "00000000"));
    expect(none).toMatchObject({ code: 1, stderr: expect.stringMatching(/^CHECKPOINT_NOT_FOUND: /) });
    await truncate(path.join(folder, "checkpoints", `${name}.tar`), 512);
    const cut = await log("recover", "--from", path.join(folder, "checkpoints", name));
    expect(cut).toMatchObject({ code: 1, stderr: expect.stringMatching(/^CHECKPOINT_INCOMPLETE: /) });
    expect((await log("status")).code).toBe(1);
    expect(await readdir(folder, { recursive: true })).not.toContainEqual(expect.stringMatching(/recover/));
  });

  it("is not joined with an empty index when that checkpoint is missing", async () => {
    const node = await started("a");
    await put(node, "x", 1);
    await saveCheckpoint(node);
    await closeAll();
    await loseLog();
    expect((await log("recover", "--from", path.join(folder, "checkpoints"))).code).toBe(0);
    await rm(path.join(folder, "checkpoints"), { recursive: true });
    const failure = await failureOf(await start("b"));
    expect(failure).toMatchObject({
      code: "LOG_TRIMMED",
      retries: true,
      message: expect.stringContaining("transaction 2"),
    });
  });

  it(
    "saves its own checkpoints immediately, and can be trimmed and recovered again",
    { tags: "rest/slow" },
    async () => {
      const { names } = await lostLog();
      expect((await log("recover", "--from", names[0] ?? "", "--yes")).code).toBe(0);
      const a = await started("a");
      expect((await a.digest()).txId).toBe(5);
      const own = await saveCheckpoint(a);
      await put(a, "k1", 6);
      const digest = await a.digest();
      const newest = await saveCheckpoint(a);
      await closeAll();
      const opened = await openLog();
      await opened.trim?.(2);
      expect(await opened.bounds()).toEqual({ first: 2, last: 2 });
      await opened.close();
      const b = await started("b");
      expect((await b.status()).join.restoredFrom).toMatchObject({ name: newest });
      expect(await b.digest()).toEqual(digest);
      expect((await b.status()).log).toMatchObject({ firstTxId: 6, lastTxId: 6 });
      expect(await put(b, "k1", 7)).toBe(7);
      await closeAll();
      await loseLog();
      expect((await log("recover", "--from", own, "--yes")).code).toBe(0);
      const c = await started("c");
      expect((await c.status()).join.restoredFrom).toMatchObject({ name: own, txId: 5 });
      expect(await put(c, "k1", 8)).toBe(7);
      expect((await c.history(key("k1"))).versions.map(({ json }) => json)).not.toContain("6");
    },
  );
});

it("status --wait waits for a node until it follows the recovered log", { tags: "rest/slow" }, async () => {
  nats = await startNatsServer({ storeDir: path.join(folder, "nats") });
  const node = await started("a");
  for (const value of [1, 2, 3]) await put(node, "kept", value);
  const name = await saveCheckpoint(node);
  const { id: lost } = (await node.status()).log;
  await loseLog();
  const recovered = await log("recover", "--from", name, "--json");
  expect([recovered.code, recovered.stderr]).toEqual([0, ""]);
  const begun = JSON.parse(recovered.stdout) as { id: string };
  const terminal = new CapturedTerminal({ cwd: folder, env: environment("cli") });
  const waited = await cairn(["status", "--wait", "PT1M", "--json", "--url", node.url ?? ""], terminal);
  expect(JSON.parse(waited.stdout)).toMatchObject({
    phase: "ready",
    log: { id: begun.id, firstTxId: 5, lastTxId: 5 },
  });
  expect(begun.id).not.toBe(lost);
});
