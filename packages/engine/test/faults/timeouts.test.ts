// @module-tag nats
import { once } from "node:events";
import { connect } from "node:net";
import path from "node:path";
import { CairnClient, CairnClientError } from "@cairn/client";
import { filesystemStore } from "@cairn/checkpoint";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { faultyStore, type StoreFaults } from "@cairn/checkpoint/testing";
import type { CairnNode } from "../../src/node/node.ts";
import { cairn, CapturedTerminal } from "@cairn/test-support/nodes/captured-terminal";
import { ClusterScene, put } from "@cairn/test-support/nodes/cluster-scene";
import { quietSystem } from "@cairn/test-support/nodes/quiet-system";
import { saveCheckpoint } from "@cairn/test-support/stores/save-checkpoint";

const TIMEOUT_MS = 1_000;
/** The additional time (ms) that a response may take on a machine with few cores. */
const SLACK_MS = 2_000;

let scene: ClusterScene;
let node: CairnNode;
let url = "";
let faults: StoreFaults = {};
beforeEach(async () => {
  faults = {};
  scene = await ClusterScene.open();
  const store = faultyStore(filesystemStore({ path: path.join(scene.folder, "checkpoints") }), {
    before: async (call) => await faults.before?.(call),
  });
  const { checkpointer } = quietSystem({
    folder: scene.folder,
    nodeId: "a",
    openTxLog: () => Promise.reject(new Error("not this one")),
    checkpointer: { store },
  });
  node = await scene.ready("a", {
    parts: { checkpointer, http: { host: "127.0.0.1", port: 0, maxBody: 1_048_576 } },
  });
  url = node.url ?? "";
  await put(node, 0, 3, "x");
  const { txId } = await node.submit({ ops: [["evict", "things", "default/k1"]] });
  await node.await(txId);
  await saveCheckpoint(node);
});
afterEach(async () => {
  scene.nats.thaw();
  await scene.close();
});

/** Freezes the server, and waits until it is frozen, because the signal takes effect with a delay. */
async function freeze(): Promise<void> {
  scene.nats.freeze();
  await vi.waitFor(async () => expect(await greeting()).toBeUndefined(), { interval: 1 });
}

/** Connects to the log's server. Returns its greeting, which a running one sends at once; undefined if there is none. */
async function greeting(): Promise<unknown> {
  const socket = connect(scene.nats.port, "127.0.0.1");
  try {
    const [greeted] = await once(socket, "data", { signal: AbortSignal.timeout(200) });
    return greeted;
  } catch (error) {
    if ((error as Error).name !== "AbortError") throw error;
    return undefined;
  } finally {
    socket.destroy();
  }
}

/**
 * The result of a request: its status, its code, whether it reports a stored transaction, and whether it was in time.
 */
type Outcome = readonly [status: number, code: string | undefined, txId: "txId" | undefined, inTime: string];

async function timed(
  work: () => Promise<{ status: number; code?: string | undefined; txId?: unknown }>,
): Promise<Outcome> {
  const start = performance.now();
  const { status, code, txId } = await work();
  const ms = performance.now() - start;
  const inTime = ms < TIMEOUT_MS + SLACK_MS ? "in time" : `after ${Math.round(ms)} ms`;
  return [status, code, typeof txId === "number" ? "txId" : undefined, inTime];
}

async function send(method: string, address: string, body?: string): Promise<Outcome> {
  return await timed(async () => {
    const answer = await fetch(url + address, {
      method,
      ...(body === undefined ? {} : { body }),
      headers: address.includes("batch") ? { "content-type": "application/x-ndjson" } : {},
    });
    const told = (await answer.json()) as { error?: { code: string }; txId?: number };
    return { status: answer.status, code: told.error?.code, txId: told.txId };
  });
}

async function byClient(call: (client: CairnClient) => Promise<unknown>): Promise<Outcome> {
  return await timed(async () => {
    try {
      await call(new CairnClient({ urls: url }));
      return { status: 200 };
    } catch (error) {
      if (!(error instanceof CairnClientError)) throw error;
      return { status: error.status ?? 0, code: error.code, txId: error.details["txId"] };
    }
  });
}

const TX = JSON.stringify({ ops: [["put", "things", "a", 1]] });
const EVENT = JSON.stringify({ object: "a", reason: "b" });

/** Every parameter in docs/http.md, docs/client.md and docs/cli.md that bounds a wait, with a request that uses it. */
const ASKED: Readonly<Record<string, () => Promise<Outcome>>> = {
  PUT: () => send("PUT", "/api/v1/things/new?timeout=PT1S", "1"),
  "PUT, in milliseconds": () => send("PUT", "/api/v1/things/k2?timeout=1000", "1"),
  "PUT, not awaited": () => send("PUT", "/api/v1/things/a?timeout=PT1S&await=false", "1"),
  DELETE: () => send("DELETE", "/api/v1/things/gone?timeout=PT1S"),
  "a transaction": () => send("POST", "/api/v1/tx?timeout=PT1S", TX),
  "a transaction, awaited": () => send("POST", "/api/v1/tx?timeout=PT1S&await=true", TX),
  "a batch, awaited": () => send("POST", "/api/v1/tx/batch?timeout=PT1S&await=true", `${TX}\n${TX}\n`),
  "an event": () => send("POST", "/api/v1/events?timeout=PT1S", EVENT),
  policies: () => send("PUT", "/api/v1/policies?timeout=PT1S", "{}"),
  "a document, at a later transaction": () => send("GET", "/api/v1/things/k0?min-tx=99&timeout=PT1S"),
  "a list, at a later transaction": () => send("GET", "/api/v1/things?min-tx=99&timeout=PT1S"),
  "an outcome": () => send("GET", "/api/v1/tx/99?timeout=PT1S"),
  "an outcome, at a later transaction": () => send("GET", "/api/v1/tx/98?min-tx=99&timeout=PT1S"),
  digest: () => send("GET", "/api/v1/digest?min-tx=99&timeout=PT1S"),
  checkpoints: () => send("GET", "/api/v1/checkpoints?timeout=PT1S"),
  evictions: () => send("GET", "/api/v1/tx/evictions?timeout=PT1S"),
  "client, put": () => byClient((client) => client.put("things", "a", 1, { timeoutMs: TIMEOUT_MS })),
  "client, get": () => byClient((client) => client.get("things", "a", { minTx: 99, timeoutMs: TIMEOUT_MS })),
  "client, await": () => byClient((client) => client.await(99, { timeoutMs: TIMEOUT_MS })),
};

const LATE = [504, "TX_TIMEOUT", undefined, "in time"];
const FINE = [200, undefined, undefined, "in time"];
const STORED = [200, undefined, "txId", "in time"];

const READS_AHEAD = {
  "a document, at a later transaction": LATE,
  "a list, at a later transaction": LATE,
  "an outcome": LATE,
  "an outcome, at a later transaction": LATE,
  digest: LATE,
  "client, get": LATE,
  "client, await": LATE,
};
const WITHOUT_LOG = {
  ...READS_AHEAD,
  PUT: LATE,
  "PUT, in milliseconds": LATE,
  "PUT, not awaited": LATE,
  DELETE: LATE,
  "a transaction": LATE,
  "a transaction, awaited": LATE,
  "a batch, awaited": LATE,
  "an event": LATE,
  policies: LATE,
  checkpoints: FINE,
  evictions: FINE,
  "client, put": LATE,
};
const WITHOUT_STORE = {
  ...READS_AHEAD,
  PUT: [201, undefined, "txId", "in time"],
  "PUT, in milliseconds": STORED,
  "PUT, not awaited": [202, undefined, "txId", "in time"],
  DELETE: STORED,
  "a transaction": [202, undefined, "txId", "in time"],
  "a transaction, awaited": STORED,
  "a batch, awaited": FINE,
  "an event": [201, undefined, "txId", "in time"],
  policies: STORED,
  checkpoints: [503, "STORE_UNREACHABLE", undefined, "in time"],
  evictions: FINE,
  "client, put": FINE,
};

async function askAll(): Promise<Record<string, Outcome>> {
  const outcomes = Object.entries(ASKED).map(async ([name, ask]) => [name, await ask()] as const);
  return Object.fromEntries(await Promise.all(outcomes));
}

describe("every documented timeout", () => {
  it("is observed while the log's server is frozen", { tags: "rest/slow" }, async () => {
    await freeze();
    expect(await askAll()).toEqual(WITHOUT_LOG);
  });

  it("is observed while the log's server is stopped", { tags: "rest/slow" }, async () => {
    await scene.nats.kill();
    expect(await askAll()).toEqual(WITHOUT_LOG);
  });

  it("is observed while the checkpoint store does not respond", { tags: "rest/slow" }, async () => {
    faults = { before: () => new Promise(() => {}) };
    expect(await askAll()).toEqual(WITHOUT_STORE);
  });
});

it(
  "a write that timed out is reported as possibly stored, and is stored once if it is resent with its id",
  { tags: "rest/slow" },
  async () => {
    await freeze();
    const body = JSON.stringify({ ops: [["put", "things", "once", 1]], id: "mine" });
    const ask = { method: "POST", body };
    const late = (await (await fetch(`${url}/api/v1/tx?timeout=PT0.5S`, ask)).json()) as {
      error: { code: string; hint: string };
    };
    expect(late.error).toMatchObject({
      code: "TX_TIMEOUT",
      hint: expect.stringContaining("because it may have been stored"),
    });
    scene.nats.thaw();
    const again = await fetch(`${url}/api/v1/tx?await=true`, ask);
    expect([again.status, await again.json()]).toMatchObject([200, { committed: true }]);
    const history = await fetch(`${url}/api/v1/things/once?history=true`);
    expect(await history.json()).toHaveLength(1);
  },
);

it(
  "cairn status --wait ends in time, although the node waits for its log before it responds",
  { tags: "rest/slow" },
  async () => {
    await freeze();
    // The node responds after two seconds, and would then report that it is ready.
    const terminal = new CapturedTerminal({ cwd: scene.folder, env: {} });
    const { code, stderr } = await cairn(["status", "--wait", "PT0.5S", "--url", url], terminal);
    expect(code).toBe(3);
    expect(stderr).toMatch(/^NOT_READY: /);
  },
);
