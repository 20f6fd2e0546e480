// @module-tag nats
import { existsSync, readdirSync } from "node:fs";
import path from "node:path";
import { Writable } from "node:stream";
import { filesystemStore } from "@cairn/checkpoint";
import { faultyStore } from "@cairn/checkpoint/testing";
import { CairnError, resolvable } from "@cairn/kv";
import { openNatsTxLog } from "@cairn/log-nats/src/nats-tx-log";
import { pino } from "pino";
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from "vitest";
import { formatStatus } from "@cairn/cli/src/node/status-screen";
import type { CairnNode, System } from "@cairn/engine";
import { FaultyTxLog } from "@cairn/engine/testing";
import { ClusterScene, put } from "@cairn/test-support/nodes/cluster-scene";

let scene: ClusterScene;
let lines: { readonly level: number; readonly msg: string; readonly finding?: string }[] = [];
beforeEach(async () => {
  lines = [];
  scene = await ClusterScene.open();
});
afterEach(async () => {
  scene.nats.thaw();
  await scene.close();
});

const SOON = { afterMs: 300 };

function logger() {
  const stream = new Writable({
    write(chunk: Buffer, _encoding, done) {
      lines.push(JSON.parse(chunk.toString()) as (typeof lines)[number]);
      done();
    },
  });
  return pino(stream);
}

async function stalled(node: CairnNode, phase: string): Promise<string> {
  return await vi.waitFor(
    async () => {
      const status = await node.status();
      expect(status.stalled).toMatchObject({ phase, waitingFor: "log" });
      return formatStatus(status, { now: Date.now(), colors: false });
    },
    { timeout: 30_000, interval: 50 },
  );
}

describe("a node whose nats-server is frozen", () => {
  it(
    "reports in its status, and once in its log, what it waits for while it is ready, and that it has made progress again",
    { tags: "rest/slow" },
    async () => {
      const node = await scene.ready("a", { stall: SOON, logger: logger() });
      const txId = await put(node, 0, 3, "x");
      // With this short limit, a slow start may have been reported.
      lines = [];
      scene.nats.freeze();
      const screen = await stalled(node, "ready");
      expect(screen).toMatch(
        new RegExp(
          `^Failing +no progress for .* ready at transaction ${txId} .*the log "cairn", which does not respond`,
          "m",
        ),
      );
      expect((await node.status()).findings[0]).toMatchObject({
        code: "node-stalled",
        hint: expect.stringMatching(/servers.* cairn log status .*by itself\.$/),
      });
      // After many more checks, it is still reported only once.
      await vi.waitFor(async () =>
        expect((await node.status()).stalled?.forMs).toBeGreaterThan(5 * SOON.afterMs),
      );
      const named = lines.filter(({ level, finding }) => level === 50 && finding === "node-stalled");
      expect(named).toMatchObject([{ level: 50, msg: expect.stringContaining("is waiting for the log") }]);
      scene.nats.thaw();
      await vi.waitFor(async () => expect((await node.status()).stalled).toBeNull(), { timeout: 30_000 });
      await put(node, 3, 4, "x");
      await vi.waitFor(
        () => expect(lines.map(({ msg }) => msg)).toContain(`This is over: ${named[0]?.msg}`),
        {
          timeout: 30_000,
        },
      );
    },
  );

  it("serves no reads as of a time until it knows whether the log has more transactions up to that time", async () => {
    const node = await scene.ready("a", { stall: SOON });
    const txId = await put(node, 0, 1, "x");
    const key = { bucket: "things", namespace: "default", name: "k0" };
    const { txTime } = await node.await(txId);
    const later = new Date(Date.parse(txTime) + 1_000).toISOString();
    scene.nats.freeze();
    // A busy system may take a while to stop a process.
    await vi.waitFor(async () => {
      await expect(node.get(key, { asOf: { time: later }, timeoutMs: 200 })).rejects.toMatchObject({
        code: "TX_TIMEOUT",
        hint: expect.stringContaining("stale=true"),
      });
    });
    // Neither a stale read nor a read as of a time up to the node's last transaction needs the log.
    const past = { asOf: { time: new Date(Date.parse(txTime) - 1).toISOString() } };
    expect(await node.get(key, past)).toBeUndefined();
    expect(await node.get(key, { asOf: { time: later }, stale: true })).toMatchObject({ revision: txId });
    // A transaction that the node does not have cannot be read, stale or not.
    const ahead = { asOf: { txId: txId + 1 }, stale: true, timeoutMs: 100 };
    await expect(node.get(key, ahead)).rejects.toMatchObject({ code: "TX_TIMEOUT" });
    scene.nats.thaw();
    await vi.waitFor(
      async () => expect(await node.get(key, { asOf: { time: later } })).toMatchObject({ revision: txId }),
      { timeout: 30_000 },
    );
  });

  it(
    "reports that it cannot join, keeps trying, and joins once the server is running again",
    { tags: "rest/slow" },
    async () => {
      scene.nats.freeze();
      const node = await scene.start("b", { stall: SOON });
      await vi.waitFor(
        async () =>
          expect(await stalled(node, "restoring")).toContain("the log to be opened (LOG_UNREACHABLE: "),
        { timeout: 30_000 },
      );
      scene.nats.thaw();
      await node.ready;
      await vi.waitFor(async () => expect((await node.status()).stalled).toBeNull());
    },
  );
});

describe("a node that joins while its log does not respond", () => {
  it("names the log, not the store that does not respond either", { tags: "rest/slow" }, async () => {
    await scene.ready("a");
    const never = resolvable();
    const store = faultyStore(filesystemStore({ path: path.join(scene.folder, "checkpoints") }), {
      before: async ({ method }) => (method === "list" ? await never.promise : undefined),
    });
    onTestFinished(() => never.resolve());
    let isAway = false;
    const openTxLog: System["openTxLog"] = async ({ signal }) => {
      const log = new FaultyTxLog(await openNatsTxLog({ servers: [scene.nats.url], signal }));
      Object.defineProperty(log.faults, "unreachable", { get: () => isAway });
      return log;
    };
    const node = await scene.start("b", { stall: SOON, store, parts: { openTxLog } });
    const waitingFor = async () => (await node.status()).stalled?.waitingFor;
    await vi.waitFor(async () => expect(await waitingFor()).toBe("store"), { timeout: 30_000 });
    isAway = true;
    await vi.waitFor(async () => expect(await waitingFor()).toBe("log"), { timeout: 30_000 });
    isAway = false;
    never.resolve();
    await node.ready;
  });

  it(
    "names the log, not files, if the log answers only some requests, and goes on reporting what was lost",
    { tags: "rest/slow" },
    async () => {
      const first = await scene.ready("b");
      await put(first, 0, 3, "v");
      await scene.copyLog();
      await put(first, 3, 5, "v");
      await scene.stop(first);
      await scene.rollBackLog();
      await put(await scene.ready("a"), 5, 6, "v");
      const quarantine = path.join(scene.dbDir("b"), "quarantine");
      let isMuted = true;
      const openTxLog: System["openTxLog"] = async ({ signal }) => {
        const log = new FaultyTxLog(await openNatsTxLog({ servers: [scene.nats.url], signal }));
        log.faults.replace = (message) => {
          if (isMuted && existsSync(quarantine) && readdirSync(quarantine).length > 0)
            throw new CairnError("LOG_UNREACHABLE", "The log has no leader.");
          return message;
        };
        return log;
      };
      const node = await scene.start("b", { stall: SOON, parts: { openTxLog } });
      const message = expect.stringContaining(
        "which could not be read (LOG_UNREACHABLE: The log has no leader)",
      );
      const lost = { orphans: 2, movedAside: [expect.anything()] };
      await vi.waitFor(
        async () => {
          expect(await node.status()).toMatchObject({ stalled: { waitingFor: "log", message }, join: lost });
        },
        { timeout: 30_000 },
      );
      isMuted = false;
      await node.ready;
      expect((await node.status()).join).toMatchObject(lost);
    },
  );
});

describe("a node whose nats-server was stopped while it had nothing to do", () => {
  it("reports that the log is unreachable, and no stall", { tags: "rest/slow" }, async () => {
    const stall = { afterMs: 100 };
    const node = await scene.ready("a", { stall, logger: logger() });
    await put(node, 0, 3, "x");
    lines = [];
    await scene.nats.stop();
    await vi.waitFor(
      () => expect(lines).toContainEqual(expect.objectContaining({ code: "LOG_UNREACHABLE" })),
      {
        timeout: 30_000,
      },
    );
    const begun = Date.now();
    await vi.waitFor(() => expect(Date.now() - begun).toBeGreaterThan(10 * stall.afterMs), {
      timeout: 30_000,
    });
    expect((await node.status()).stalled).toBeNull();
    expect((await node.status()).log.reachable).toBe(false);
    expect(lines.filter(({ level, finding }) => level === 50 && finding === "node-stalled")).toEqual([]);
  });
});

describe("a node that has nothing to do", () => {
  it("is never stalled", async () => {
    const node = await scene.ready("a", { stall: { afterMs: 50 }, logger: logger() });
    await put(node, 0, 3, "x");
    // With this short limit, a slow start may have been reported.
    lines = [];
    const begun = Date.now();
    await vi.waitFor(() => expect(Date.now() - begun).toBeGreaterThan(500), { timeout: 30_000 });
    expect((await node.status()).stalled).toBeNull();
    expect(lines.filter(({ level, finding }) => level === 50 && finding === "node-stalled")).toEqual([]);
  });
});
