// @module-tag nats
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, rm } from "node:fs/promises";
import path from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { faultyStore, unreachable, memoryStore } from "@cairn/checkpoint/testing";
import { pino } from "pino";
import { afterEach, beforeEach, expect, it, onTestFinished, vi } from "vitest";
import { askSilent, askStatus } from "../../src/cluster/ask-cluster.ts";
import { decodeQuestion, encodeMessage } from "../../src/cluster/peer-messages.ts";
import { finding } from "../../src/findings/findings.ts";
import { HeardNodes, type PeerActions, PeerServer } from "../../src/cluster/peer-server.ts";
import type { PeerChannel } from "../../src/log/peer-channel.ts";
import type { TxLog } from "../../src/log/tx-log.ts";
import { openNatsTxLog } from "@cairn/log-nats/src/nats-tx-log";
import { startMutableProxy } from "@cairn/test-support/links/mutable-proxy";
import { ClusterScene, put } from "@cairn/test-support/nodes/cluster-scene";
import { MemoryNode } from "@cairn/test-support/nodes/memory-node";
import { statusOf } from "./responded.ts";

const CHILD = fileURLToPath(new URL("../../dist/test/faults/frozen-child.js", import.meta.url));

let scene: ClusterScene;
beforeEach(async () => {
  scene = await ClusterScene.open();
});
afterEach(() => scene.close());

/** Starts the node "frozen" in a separate process. */
async function startProcess() {
  const dir = path.join(scene.folder, "frozen");
  await mkdir(dir, { recursive: true });
  const child = spawn(process.execPath, [CHILD, scene.nats.url, dir], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const exited = once(child, "exit");
  const kill = async (): Promise<void> => {
    child.kill("SIGKILL");
    await exited;
  };
  const stop = async (): Promise<void> => {
    child.kill("SIGTERM");
    await exited;
  };
  onTestFinished(kill);
  await once(createInterface({ input: child.stdout }), "line");
  return { child, kill, stop };
}

/** Waits until the node `by` has heard from `node`. */
async function heardOf(node: string, by: string): Promise<void> {
  const log = await openNatsTxLog({ servers: scene.nats.url });
  onTestFinished(() => log.close());
  const channel = log.peers;
  if (channel === undefined) throw new Error("The log connects no nodes.");
  const id = (await log.id()) ?? "";
  await vi.waitFor(
    async () => {
      const peers = (await askStatus(channel, { timeoutMs: 300 })).filter((peer) => peer.node === by);
      const heard = await askSilent(channel, peers, id, { timeoutMs: 1_000 });
      expect(heard.map((one) => one.node)).toContain(node);
    },
    { timeout: 30_000 },
  );
}

it(
  "a frozen node is listed without a response and makes the command end with 3 until it continues",
  { tags: "rest/slow" },
  async () => {
    const a = await scene.ready("a", { parts: { http: { host: "127.0.0.1", port: 0, maxBody: 1_000 } } });
    await put(a, 0, 3, "x");
    const { child } = await startProcess();
    await heardOf("frozen", "a");
    expect((await statusOf(scene, 2)).code).toBe(0);
    child.kill("SIGSTOP");
    const [frozen, frozenJson] = await Promise.all([statusOf(scene, 1), statusOf(scene, 1, "--json")]);
    expect(frozen.stdout).toMatch(/; 1 node responded, 1 did not$/m);
    expect(frozen.stdout).toMatch(/^frozen +unknown +unknown +no response( +unknown){4}$/m);
    expect(frozen.stdout).toMatch(
      /^Failing +frozen: no response; last heard from \S+ \S+ ago\..*\n +Meanwhile, .*\n +Resume or restart a node/m,
    );
    expect([frozen.code, frozen.stderr]).toEqual([
      3,
      expect.stringMatching(
        /^NOT_READY: frozen: no response; last heard from .*\n {2}hint: Resume or restart a node/,
      ),
    ]);
    expect(JSON.parse(frozenJson.stdout)).toMatchObject({
      silent: [{ node: "frozen", forMs: expect.any(Number) }],
    });
    expect(await (await fetch(`${a.url}/status/cluster`)).json()).toMatchObject({
      verdict: {
        state: "failing",
        hint: expect.stringMatching(/^Resume or restart a node that is frozen[^]* --timeout PT10S/),
      },
      nodes: [{ node: "a" }],
      silent: [{ node: "frozen", forMs: expect.any(Number) }],
    });
    child.kill("SIGCONT");
    await vi.waitFor(async () => {
      const seen = (await (await fetch(`${a.url}/status/cluster`)).json()) as object;
      expect(seen).toMatchObject({ nodes: [{ node: "a" }, { node: "frozen" }], silent: [] });
    });
    await vi.waitFor(async () => expect((await statusOf(scene, 2)).code).toBe(0));
  },
);

it(
  "a node whose link to NATS stalls says in time that it cannot ask the others",
  { tags: "rest/slow" },
  async () => {
    const proxy = await startMutableProxy(scene.nats.port);
    onTestFinished(() => proxy.close());
    const servers = `nats://127.0.0.1:${proxy.port}`;
    const a = await scene.ready("a", {
      parts: {
        http: { host: "127.0.0.1", port: 0, maxBody: 1_000 },
        openTxLog: async ({ signal }) => await openNatsTxLog({ servers, signal }),
      },
    });
    proxy.mute();
    const begun = performance.now();
    const status = await (await fetch(`${a.url}/status/cluster?timeout=PT0.5S`)).json();
    // The client of NATS waits for five seconds, and the node for two to describe the log.
    expect(performance.now() - begun).toBeLessThan(4_500);
    expect(status).toMatchObject({
      nodes: [{ node: "a" }],
      findings: expect.arrayContaining([
        expect.objectContaining({
          code: "nodes-not-asked",
          hint: expect.stringContaining("--timeout PT10S"),
        }),
      ]),
    });
    proxy.cut();
  },
);

it(
  "a killed node is reported as missing until it is started again, and a stopped one is not",
  { tags: "rest/slow" },
  async () => {
    await put(await scene.ready("a"), 0, 3, "x");
    const b = await scene.ready("b");
    const { kill } = await startProcess();
    await heardOf("b", "a");
    await heardOf("frozen", "a");
    await kill();
    await scene.stop(b);
    const killed = await statusOf(scene, 1);
    expect([killed.code, killed.stderr]).toEqual([
      3,
      expect.stringMatching(/^NOT_READY: frozen: no response; last heard from /),
    ]);
    const again = await startProcess();
    const restarted = await statusOf(scene, 2, "--json");
    expect(restarted).toMatchObject({ code: 0, stderr: "" });
    expect(JSON.parse(restarted.stdout)).toMatchObject({ findings: [] });
    await again.stop();
    expect(await statusOf(scene, 1)).toMatchObject({ code: 0, stderr: "" });
  },
);

it(
  "a node that disappears soon after the others were restarted is missed, as long as one of them remembers it",
  { tags: "rest/slow" },
  async () => {
    const first = await scene.ready("a");
    await put(first, 0, 3, "x");
    const { kill } = await startProcess();
    await heardOf("frozen", "a");
    await scene.stop(first);
    const a = await scene.ready("a");
    // The next announcement of the other node would come after about a minute.
    await heardOf("frozen", "a");
    await kill();
    expect(await statusOf(scene, 1)).toMatchObject({
      code: 3,
      stderr: expect.stringMatching(/^NOT_READY: frozen: no response; last heard from /),
    });
    await scene.ready("b");
    await heardOf("frozen", "b");
    await scene.stop(a);
    const later = JSON.parse((await statusOf(scene, 1, "--json")).stdout) as object;
    expect(later).toMatchObject({ nodes: [{ node: "b" }], silent: [{ node: "frozen" }] });
  },
);

function answer(node: string, part: object): Uint8Array {
  return encodeMessage({ cairn: 1, instance: node, node, host: "h", pid: 1, startedAt: "t", ...part });
}

it("a node learns of no node that stops while it asks, of no earlier process of its own, and of no one twice", async () => {
  const noted = { log: "l", forMs: 5_000 };
  const remembered = ["self", "gone", "killed"].map((node) => ({ ...noted, node, instance: `old ${node}` }));
  const { log } = await new MemoryNode().status();
  const status = { ...(await new MemoryNode().status()), log: { ...log, id: "l" } };
  const serving: ((question: Uint8Array, send: (answer: Uint8Array) => void) => void)[] = [];
  const tell = (question: object): void =>
    serving.forEach((serve) => serve(encodeMessage(question), () => {}));
  const channel: PeerChannel = {
    address: "",
    maxAnswerBytes: Infinity,
    serve: (serve) => {
      serving.push(serve);
      return () => {};
    },
    async *ask(question) {
      if (decodeQuestion(question)?.ask === "status") {
        yield answer("there", { status });
        yield answer("leaving", { status });
        tell({ cairn: 1, ask: "leaving", node: "leaving" });
      } else {
        tell({ cairn: 1, ask: "leaving", node: "gone" });
        for (const node of ["there", "leaving"]) yield answer(node, { others: remembered });
      }
    },
  };
  const server = new PeerServer("self", Object.create(null) as PeerActions, pino({ level: "silent" }));
  const peers = { peers: channel } as unknown as TxLog;
  server.listen(peers);
  await server.learn(peers);
  expect([...server.expected].toSorted()).toEqual(
    [server.identity.instance, "old killed", "there"].toSorted(),
  );
  await server.close();
});

it("a node whose status is larger than a message of NATS is not silent", async () => {
  const log = await openNatsTxLog({ servers: scene.nats.url });
  onTestFinished(() => log.close());
  const warning = finding("checkpoint-warning", { message: "x".repeat(3_000), hint: "Do it." });
  const status = {
    ...(await new MemoryNode().status()),
    findings: Array.from({ length: 400 }, () => warning),
  };
  const actions: Pick<PeerActions, "status"> = { status: () => Promise.resolve(status) };
  const server = new PeerServer("large", actions as PeerActions, pino({ level: "silent" }));
  server.listen(log);
  onTestFinished(() => server.close());
  const { peers } = log;
  if (peers === undefined) throw new Error("The log connects no nodes.");
  const expected = new Set([server.identity.instance]);
  const [found] = await askStatus(peers, { timeoutMs: 30_000, expected });
  expect(found?.status.findings.map(({ code }) => code)).toContain("status-shortened");
});

it(
  "a failing store and removed files of an index are reported in the notes",
  { tags: "rest/slow" },
  async () => {
    let isAway = false;
    const store = faultyStore(memoryStore(), { fail: () => (isAway ? unreachable() : undefined) });
    const a = await scene.ready("a", { store });
    await put(a, 0, 3, "x");
    isAway = true;
    await expect(a.checkpoint().done).rejects.toMatchObject({ code: "STORE_UNREACHABLE" });
    await rm(path.join(scene.dbDir("a"), "live"), { recursive: true });
    // The size of the files, with which their loss is noticed, is measured once a second.
    const stdout = await vi.waitFor(async () => {
      const shown = (await statusOf(scene, 1)).stdout;
      expect(shown).toMatch(/^Attention +a: INDEX_CORRUPT: .*\n.*\n.* start it again/m);
      return shown;
    }, 10_000);
    expect(stdout).toMatch(
      /^Attention +a: STORE_UNREACHABLE: No checkpoint was saved\. The store does not respond\. /m,
    );
  },
);

it("a clock that differs from that of the checkpoint store is reported until a look finds it right", async () => {
  let aheadMs = -2 * 3_600_000;
  const a = await scene.ready("a", { store: memoryStore({ now: () => Date.now() + aheadMs }) });
  const found = async (): Promise<readonly string[]> =>
    (await a.status()).findings.filter(({ code }) => code === "clock-wrong").map(({ message }) => message);
  await a.checkpoint().done;
  expect(await found()).toEqual(["The clock of this machine is 2 h ahead of that of the checkpoint store."]);
  aheadMs = 61_000;
  await a.checkpoint().done;
  expect(await found()).toEqual([expect.stringContaining(" behind that of the checkpoint store.")]);
  aheadMs = 0;
  await a.checkpoint().done;
  expect(await found()).toEqual([]);
});

it("at most a thousand nodes are remembered, for an hour after they were last heard from", () => {
  let now = 0;
  const heard = new HeardNodes(() => now);
  const hear = (n: number): void => heard.heard({ instance: `i${n}`, node: `n${n}`, log: "l", at: now });
  hear(1);
  hear(2);
  now = 3_599_000;
  hear(2);
  expect(heard.others("l", [])).toMatchObject([{ node: "n1", forMs: 3_599_000 }, { node: "n2" }]);
  expect(heard.others("another", [])).toEqual([]);
  now = 3_600_000;
  expect(heard.others("l", [])).toEqual([{ instance: "i2", node: "n2", forMs: 1_000 }]);
  expect(heard.others("l", ["i2"])).toEqual([]);
  heard.heard({ instance: "i2-restarted", node: "n2", log: "l", at: now });
  heard.left("n2");
  // What it answered to an earlier question is noted later.
  heard.heard({ instance: "i2-restarted", node: "n2", log: "l", at: now });
  expect(heard.others("l", [])).toEqual([]);
  // Others remember it for no longer than those that have heard from it themselves.
  heard.heard({ instance: "i3", node: "n3", log: "l", at: now - 3_599_000 });
  expect(heard.others("l", [])).toMatchObject([{ node: "n3", forMs: 3_599_000 }]);
  now += 1_000;
  expect(heard.others("l", [])).toEqual([]);
  for (let n = 0; n < 1_001; n += 1) hear(n);
  expect(
    heard.others(
      "l",
      Array.from({ length: 1_000 }, (_, n) => `i${n + 1}`),
    ),
  ).toEqual([]);
});
