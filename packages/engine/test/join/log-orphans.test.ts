// @module-tag nats
import { cp, mkdtemp, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { createSystem, readConfig, requireConfig } from "@cairn/config";
import type { CairnNode } from "../../src/node/node.ts";
import { runNode } from "@cairn/node";
import { NatsOperator, type NatsTestServer, startNatsServer } from "@cairn/log-nats/testing";
import { withoutOutcomes } from "../../testing/removed-outcomes.ts";
import type { Transaction } from "@cairn/client";
import { cairn, CapturedTerminal, type CommandResult } from "@cairn/test-support/nodes/captured-terminal";
import { saveCheckpoint } from "@cairn/test-support/stores/save-checkpoint";

let folder = "";
let nats: NatsTestServer;
let nodes: CairnNode[] = [];
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "cairn-orphans-"));
  nats = await startNatsServer({ storeDir: path.join(folder, "nats") });
});
afterEach(async () => {
  await Promise.all(nodes.map((node) => node.close()));
  nodes = [];
  await nats.close();
  await rm(folder, { recursive: true, force: true });
});

function environment(id: string): Record<string, string> {
  return {
    NATS_URL: nats.url,
    CAIRN_NODE_ID: id,
    CAIRN_CHECKPOINT_PATH: path.join(folder, "checkpoints"),
    CAIRN_INDEX_PATH: path.join(folder, `index-${id}`),
  };
}

/** With `lookEveryMs`, the node looks at what needs attention that often. */
async function started(
  id: string,
  different: "halt" | "rebuild" = "halt",
  lookEveryMs?: number,
): Promise<CairnNode> {
  const checkpointer = {
    "approx-frequency": "PT6H",
    "retention-policy": { "retain-at-least": 1 },
    store: {
      "cairn/module": "cairn.checkpoint/->filesystem-checkpoint-store",
      path: path.join(folder, "checkpoints"),
    },
  };
  const object = {
    "cairn/index-store": { "kv-store": { checkpointer } },
    "cairn/http-server": { port: 0 },
    "cairn/tx-log": { "cairn/module": "cairn.nats/->tx-log", "on-log-mismatch": { different } },
  };
  const env = environment(id);
  const system = await createSystem(requireConfig(await readConfig({ object, env, cwd: folder })));
  const node = await runNode(system, lookEveryMs === undefined ? {} : { stall: { afterMs: lookEveryMs } });
  nodes.push(node);
  await node.ready;
  return node;
}

async function put(node: CairnNode, name: string, value: number): Promise<void> {
  const { txId } = await node.submit({ ops: [["put", "things", `default/${name}`, value]] });
  await node.await(txId);
}

async function stopServer(change: () => Promise<void>): Promise<void> {
  await nats.stop();
  await change();
  await nats.start();
}

async function copyStore(to: string): Promise<void> {
  await stopServer(async () => await cp(store(), to, { recursive: true }));
}

async function restoreStore(from: string): Promise<void> {
  await stopServer(async () => {
    await rm(store(), { recursive: true });
    await cp(from, store(), { recursive: true });
  });
}

async function orphans(id: string): Promise<CommandResult> {
  return await cairn(["log", "orphans"], new CapturedTerminal({ cwd: folder, env: environment(id) }));
}

async function load(node: CairnNode, ndjson: string): Promise<CommandResult> {
  const file = path.join(folder, "orphans.ndjson");
  await writeFile(file, ndjson);
  return await cairn(["load", file, "--await", "--url", node.url ?? ""]);
}

const store = () => path.join(folder, "nats");
const copy = () => path.join(folder, "nats-copy");
const value = async (node: CairnNode, name: string) =>
  (await node.get({ bucket: "things", namespace: "default", name }))?.json;

/** Removes the log's messages up to a transaction, as an operator or a policy does once they are in a checkpoint. */
async function trim(upTo: number): Promise<void> {
  await NatsOperator.at(nats.url, async (operator) => await operator.purgeBefore(upTo + 1));
}

/**
 * Creates a node `a` with 12 transactions, of which the server lost the last four and stored two others in their place.
 */
async function regressed(beforeLoss?: (node: CairnNode) => Promise<void>): Promise<CairnNode> {
  const a = await started("a");
  for (let n = 2; n <= 9; n += 1) await put(a, `k${n}`, n);
  await copyStore(copy());
  for (let n = 10; n <= 12; n += 1) await put(a, `k${n}`, n);
  await put(a, "k2", 200);
  await beforeLoss?.(a);
  await a.close();
  await restoreStore(copy());
  const b = await started("b");
  await put(b, "new", 1);
  await put(b, "k10", 0);
  return await started("a");
}

describe("cairn log orphans", () => {
  it(
    "prints the transactions that a log's server lost, which can be loaded so that each is applied once",
    { tags: "rest/slow" },
    async () => {
      const a = await regressed();
      const { join } = await a.status();
      expect(join).toMatchObject({ orphans: 4, movedAside: [{ code: "LOG_REGRESSED" }] });
      expect(await value(a, "k11")).toBeUndefined();

      const { code, stdout, stderr } = await orphans("a");
      expect(code).toBe(0);
      expect(stderr).toContain("the log lost transactions 10 to 13; printed 4 transactions");
      expect(stdout.trim().split("\n")).toHaveLength(4);
      expect((await load(a, stdout)).code).toBe(0);
      expect(await Promise.all(["k9", "k11", "k2", "new"].map((name) => value(a, name)))).toEqual([
        "9",
        "11",
        "200",
        "1",
      ]);
      const digest = await a.digest();
      // Loading the transactions twice is harmless, because their ids show that they were applied.
      expect((await load(a, stdout)).code).toBe(0);
      expect(await a.digest()).toEqual(digest);
      const again = await orphans("a");
      expect(again).toMatchObject({ code: 0, stdout: "" });
      expect(again.stderr).toContain(
        "except 4 transactions that it holds at other positions, that were loaded again",
      );
      await a.close();
      expect((await (await started("a")).status()).join.orphans).toBe(4);
    },
  );

  it(
    "prints orphans that are no longer a finding once they were loaded, or their folder was removed, without a restart",
    { tags: "rest/slow" },
    async () => {
      await (await regressed()).close();
      const a = await started("a", "halt", 50);
      const counted = async (orphanCount: number, findings: readonly string[]): Promise<void> =>
        await vi.waitFor(
          async () => {
            const { join, findings: found } = await a.status();
            const lost = found
              .filter(({ code }) => code === "transactions-lost")
              .map(({ message }) => message);
            expect([join.orphans, lost]).toEqual([orphanCount, findings]);
          },
          { timeout: 10_000 },
        );
      await counted(4, ["4 transactions lost by the log are only in quarantine."]);
      const printed = await orphans("a");
      expect(printed).toMatchObject({ code: 0, stdout: expect.stringContaining("orphan-10-") });
      const lines = printed.stdout.trim().split("\n");
      expect((await load(a, `${lines[0]}\n`)).code).toBe(0);
      await counted(3, ["3 transactions lost by the log are only in quarantine."]);
      expect((await load(a, `${lines.join("\n")}\n`)).code).toBe(0);
      await counted(0, []);
      await a.close();
      const next = await started("a");
      const { join, findings } = await next.status();
      expect([join.orphans, findings.filter(({ code }) => code === "transactions-lost")]).toEqual([0, []]);
      await next.close();

      // The log loses them once more.
      await restoreStore(copy());
      const again = await started("a", "rebuild", 50);
      const lost = 4 + ["new", "k10"].length;
      await vi.waitFor(async () => expect((await again.status()).join.orphans).toBe(lost), {
        timeout: 10_000,
      });
      // The index that was moved aside last holds the other four, too.
      const both = await orphans("a");
      expect(both.stdout.trim().split("\n")).toHaveLength(lost);
      expect(both.stderr).toContain("except 4 transactions that");
      // At once, since the node may be looking at the index that is removed.
      await rename(path.join(folder, "index-a", "quarantine"), path.join(folder, "removed"));
      await vi.waitFor(async () => expect((await again.status()).join.orphans).toBe(0), { timeout: 10_000 });
    },
  );

  it(
    "prints the same transactions after the log was trimmed beyond the lost ones",
    { tags: "rest/slow" },
    async () => {
      const a = await regressed();
      const before = await orphans("a");
      for (let n = 0; n < 4; n += 1) await put(a, `later-${n}`, n);
      await saveCheckpoint(a);
      for (const upTo of [11, 14]) {
        await trim(upTo);
        const { code, stdout, stderr } = await orphans("a");
        expect([code, stdout]).toEqual([0, before.stdout]);
        expect(stderr).toContain("the log lost transactions 10 to 13; printed 4 transactions");
      }
    },
  );

  it("does not guess transactions that a trimmed log can no longer show", { tags: "rest/slow" }, async () => {
    const a = await started("a");
    for (let n = 2; n <= 5; n += 1) await put(a, `k${n}`, n);
    await a.close();
    const b = await started("b");
    for (let n = 6; n <= 9; n += 1) await put(b, `k${n}`, n);
    await saveCheckpoint(b);
    await trim(8);
    await started("a");
    // The restored index shows that the log had all of them.
    expect((await orphans("a")).stderr).toContain("no index in");
    // The note of an index that could not be read when it was moved aside has no comparison.
    const quarantine = path.join(folder, "index-a", "quarantine");
    const [moved = ""] = await readdir(quarantine);
    const note = path.join(quarantine, moved, "why.json");
    const known = JSON.parse(await readFile(note, "utf8")) as object;
    await writeFile(
      note,
      JSON.stringify({
        ...known,
        holdsLost: true,
        shared: undefined,
        comparedWith: undefined,
        isProven: undefined,
      }),
    );
    const { code, stdout, stderr } = await orphans("a");
    expect([code, stdout]).toEqual([0, ""]);
    expect(stderr).toContain(
      "of its transactions up to 5, so it is unknown whether the log's history contains all of these",
    );
  });

  it(
    "reports transactions whose outcomes a policy has removed, instead of omitting them silently",
    { tags: "rest/slow" },
    async () => {
      await regressed(async (node) => {
        for (let n = 13; n <= 44; n += 1) await put(node, `k${n}`, n);
      });
      const quarantine = path.join(folder, "index-a", "quarantine");
      const [moved = ""] = await readdir(quarantine);
      await withoutOutcomes(path.join(quarantine, moved, "live"), 32);
      const { code, stdout, stderr } = await orphans("a");
      expect(code).toBe(0);
      const printed = stdout.trim().split("\n");
      expect(stderr).toContain("the log lost transactions 10 to 45");
      expect(stderr).toContain("transactions 10 to 32 cannot be printed, because the policy");
      const [, buckets = ""] = /\(.*cairn (db buckets .*) shows what the index holds/.exec(stderr) ?? [];
      expect(await cairn(buckets.split(" "), new CapturedTerminal({ cwd: "/" }))).toMatchObject({ code: 0 });
      expect(stderr).toContain('the policy "outcomes" removed the outcomes of its transactions up to 9');
      expect(stderr).toContain(`printed ${printed.length} transactions`);
      expect(printed).toHaveLength(13);
    },
  );

  it(
    "prints the transactions after the checkpoint from which a lost log was recovered",
    { tags: "rest/slow" },
    async () => {
      const a = await started("a");
      for (let n = 2; n <= 5; n += 1) await put(a, `k${n}`, n);
      const saved = await saveCheckpoint(a);
      for (let n = 6; n <= 8; n += 1) await put(a, `k${n}`, n);
      await a.close();
      await stopServer(async () => await rm(store(), { recursive: true }));
      const terminal = new CapturedTerminal({ cwd: folder, env: environment("a") });
      expect((await cairn(["log", "recover", "--from", saved, "--yes"], terminal)).code).toBe(0);
      const again = await started("a", "rebuild");
      expect((await again.status()).join.orphans).toBe(3);
      const { stdout } = await orphans("a");
      expect((await load(again, stdout)).code).toBe(0);
      expect(await Promise.all(["k5", "k6", "k8"].map((name) => value(again, name)))).toEqual([
        "5",
        "6",
        "8",
      ]);
      expect((await again.status()).index.txId).toBe(5 + 1 + 3);
    },
  );

  it.each(["the same log", "a log that was recovered from a checkpoint"])(
    "omits transactions that %s has got back, and prints those that it lost instead",
    { tags: "rest/slow" },
    async (recovery) => {
      const a = await started("a");
      for (let n = 2; n <= 5; n += 1) await put(a, `k${n}`, n);
      const events = async () => (await a.events()).events.length;
      await copyStore(copy());
      for (let n = 6; n <= 9; n += 1) await put(a, `k${n}`, n);
      await a.submit({ ops: [["event", { object: "k9", reason: "Written" }]] });
      const whole = await saveCheckpoint(a);
      expect(await events()).toBe(1);
      await a.close();
      await copyStore(`${copy()}-2`);
      await restoreStore(copy());
      const regressedNode = await started("a");
      expect((await regressedNode.status()).join.orphans).toBe(5);
      for (let n = 6; n <= 8; n += 1) await put(regressedNode, `other${n}`, n);
      await regressedNode.close();
      if (recovery === "the same log") await restoreStore(`${copy()}-2`);
      else {
        await stopServer(async () => await rm(store(), { recursive: true }));
        const recover = async (...more: string[]) => {
          const terminal = new CapturedTerminal({ cwd: folder, env: environment("a") });
          return await cairn(["log", "recover", "--from", whole, ...more], terminal);
        };
        expect(await recover("--dry-run")).toMatchObject({
          code: 0,
          stdout: expect.stringContaining(`continues after transaction 10: from ${whole} in file://`),
        });
        // The index has transactions of another history, although it ends earlier.
        expect(await recover()).toMatchObject({ code: 1, stderr: expect.stringContaining("CONFLICT: ") });
        expect((await recover("--yes")).stdout).toContain("continues after transaction 10 of");
      }

      for (let round = 0; round < 2; round += 1) {
        const again = await started("a", "rebuild");
        await put(again, "k9", 90 + round);
        expect((await again.status()).join.orphans).toBe(3);
        const { stdout, stderr } = await orphans("a");
        const lines = stdout.split("\n").filter((line) => line !== "");
        // They have been loaded before the second round.
        const lost = round === 0 ? [6, 7, 8] : [];
        expect(lines.map((line) => (JSON.parse(line) as Transaction).ops)).toEqual(
          lost.map((n) => [["put", "things", `default/other${n}`, n]]),
        );
        expect(stderr).toContain(round === 0 ? "printed 3 transactions" : "printed nothing");
        expect((await load(again, stdout)).code).toBe(0);
        expect(await Promise.all(["k8", "k9", "other8"].map((name) => value(again, name)))).toEqual([
          "8",
          `${90 + round}`,
          "8",
        ]);
        expect((await again.events()).events).toHaveLength(1);
        await again.close();
      }
    },
  );

  it.each(["whole", "trimmed"])(
    "claims nothing about an index of another log, which is %s, and prints it only for a person who names its log",
    { tags: "rest/slow" },
    async (state) => {
      const foreign = await started("a");
      const { id } = (await foreign.status()).log;
      for (let n = 2; n <= 5; n += 1) await put(foreign, `k${n}`, -n);
      await foreign.close();
      await NatsOperator.at(nats.url, async (operator) => await operator.deleteStream());
      const own = await started("b", "rebuild");
      for (let n = 2; n <= 6; n += 1) await put(own, `k${n}`, n);
      if (state === "trimmed") {
        await saveCheckpoint(own);
        await trim(4);
      }
      const a = await started("a", "rebuild", 50);
      const found = async (): Promise<readonly unknown[]> => {
        const { join, findings } = await a.status();
        const codes = findings.map(({ code }) => code);
        return [join.orphans, join.uncompared.length, codes.includes("index-uncompared")];
      };
      expect(await found()).toEqual([0, 1, true]);
      const printed = await orphans("a");
      expect(printed).toMatchObject({ code: 0, stdout: "" });
      expect(printed.stderr).toContain(
        `cairn log orphans --log ${id} prints them. Otherwise, remove the folder`,
      );
      const whole = await cairn(
        ["log", "orphans", "--log", id ?? ""],
        new CapturedTerminal({ cwd: folder, env: environment("a") }),
      );
      expect(whole).toMatchObject({ code: 0, stderr: expect.stringContaining("printed 4 transactions") });
      expect((await load(a, whole.stdout)).code).toBe(0);
      await vi.waitFor(async () => expect(await found()).toEqual([0, 0, false]), { timeout: 10_000 });
    },
  );

  it("reports that there are none, and which index cannot be read", { tags: "rest/slow" }, async () => {
    const a = await started("a");
    await put(a, "x", 1);
    const none = await orphans("a");
    expect(none).toMatchObject({ code: 0, stdout: "", stderr: expect.stringContaining("no index in") });
    await a.close();
    const again = await regressed();
    expect(again.phase).toBe("ready");
    const [moved = ""] = await readdir(path.join(folder, "index-a", "quarantine"));
    await rm(path.join(folder, "index-a", "quarantine", moved, "live", "CURRENT"));
    const broken = await orphans("a");
    expect(broken).toMatchObject({ code: 1, stdout: "", stderr: expect.stringContaining(moved) });
    expect(broken.stderr).toMatch(/^INDEX_CORRUPT: .*cannot be read completely/m);
  });
});

describe("a checkpoint with transactions that the log lost", () => {
  it(
    "stops no node and is kept, even after the log was trimmed beyond it",
    { tags: "rest/slow" },
    async () => {
      let lost = "";
      const a = await regressed(async (node) => {
        lost = await saveCheckpoint(node);
      });
      for (let n = 0; n < 4; n += 1) await put(a, `later-${n}`, n);
      await saveCheckpoint(a);
      await trim(14);
      // Each of these actions examines all checkpoints, and decides which to remove.
      for (const id of ["a", "c"]) {
        const node = id === "a" ? a : await started(id);
        await put(node, "more", 1);
        await saveCheckpoint(node);
        expect(await node.status()).toMatchObject({ phase: "ready", index: { divergence: null } });
        expect(await readdir(path.join(folder, "checkpoints"))).toContain(`${lost}.json`);
      }
      const config = path.join(folder, "cairn.json");
      const kept = { "retention-policy": { "retain-at-least": 1 }, "approx-frequency": "PT6H" };
      const cpStore = {
        "cairn/module": "cairn.checkpoint/->filesystem-checkpoint-store",
        path: path.join(folder, "checkpoints"),
      };
      const whole = { "cairn/index-store": { "kv-store": { checkpointer: { ...kept, store: cpStore } } } };
      const log = { "cairn/tx-log": { "cairn/module": "cairn.nats/->tx-log", servers: [nats.url] } };
      await writeFile(config, JSON.stringify({ ...whole, ...log }));
      const terminal = new CapturedTerminal({ cwd: folder, env: environment("a") });
      const { stdout } = await cairn(["checkpoint", "prune", "-f", config, "--dry-run"], terminal);
      expect(stdout).toMatch(new RegExp(`stays +${lost} .*it holds transactions that the log lost`));
    },
  );
});
