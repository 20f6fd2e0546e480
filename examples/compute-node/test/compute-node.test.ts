// @module-tag rest/slow
import { pbkdf2Sync } from "node:crypto";
import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Execution } from "../src/executions.ts";
import { ComputeProcess, MAIN } from "./support/compute-process.ts";
import { fullCount, reportedCounters } from "./support/full-count.ts";

const EXECUTIONS = 1_000;
const KILLS = 3;

let folder = "";
let compute: ComputeProcess | undefined;

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "cairn-compute-"));
});
afterEach(async () => {
  await compute?.kill();
  await rm(folder, { recursive: true });
});

async function start(keepFor: string): Promise<ComputeProcess> {
  compute = await ComputeProcess.start(folder, keepFor);
  return compute;
}

/** Returns an execution. Every tenth one has 0 rounds, which cannot be computed. */
function execution(number: number): Execution {
  return { state: "created", password: `p${number}`, rounds: number % 10 === 0 ? 0 : 2_000 };
}

async function submit(url: string, count: number): Promise<void> {
  const lines = Array.from({ length: count }, (_, n) =>
    JSON.stringify({ ops: [["put", "executions", `e-${n}`, execution(n)]] }),
  );
  const headers = { "content-type": "application/x-ndjson" };
  const body = lines.join("\n");
  const answer = await fetch(`${url}/api/v1/tx/batch?await=true`, { method: "POST", headers, body });
  expect(answer.status).toBe(200);
}

function derivedKey({ password, rounds }: Execution): string {
  return pbkdf2Sync(password, "cairn", rounds, 32, "sha256").toString("hex");
}

/** Returns the number of executions that have ended. */
async function countEnded({ greeting }: ComputeProcess): Promise<number> {
  const { counters } = await reportedCounters(greeting.ready);
  return (counters["completed"] ?? 0) + (counters["failed"] ?? 0);
}

describe("the compute node", () => {
  it(
    "has the correct number of executions in each state immediately after kill -9 and a restart",
    { tags: "rest/slow" },
    async () => {
      let node = await start("P30D");
      expect(node.greeting.counters).toEqual({});
      await submit(node.greeting.ready, EXECUTIONS);
      let abandoned = 0;
      for (let kill = 1; kill <= KILLS; kill += 1) {
        await expect
          .poll(() => countEnded(node), { timeout: 30_000 })
          .toBeGreaterThan((EXECUTIONS * kill) / (KILLS + 2));
        await node.kill();
        node = await start("P30D");
        const { txId, counters } = node.greeting;
        expect(counters).toEqual(await fullCount(node.client, txId));
        expect(Object.values(counters).reduce((sum, count) => sum + count)).toBe(EXECUTIONS);
        expect(node.abandoned).toBe(counters["running"] ?? 0);
        abandoned += node.abandoned;
        // The counters are also correct over HTTP, while executions run.
        const reported = await reportedCounters(node.greeting.ready);
        expect(reported.counters).toEqual(await fullCount(node.client, reported.txId));
      }
      expect(abandoned).toBeGreaterThan(0);
      await expect.poll(() => countEnded(node), { timeout: 30_000 }).toBe(EXECUTIONS);
      let [impossible, lost] = [0, 0];
      for await (const { document } of node.client.list<Execution>("executions", { pageSize: 1_000 })) {
        if (document.error === undefined) expect(document.state).toBe("completed");
        else if (document.error === "The compute node ended while it ran.") lost += 1;
        else impossible += document.rounds === 0 ? 1 : 0;
      }
      expect(lost).toBe(abandoned);
      const { counters } = await reportedCounters(node.greeting.ready);
      expect(counters).toEqual({ completed: EXECUTIONS - impossible - lost, failed: impossible + lost });
      expect(await node.stop()).toBe(0);
    },
  );

  it("runs each execution once, and records why an execution failed", async () => {
    const node = await start("P30D");
    await submit(node.greeting.ready, 100);
    await expect.poll(() => countEnded(node), { timeout: 30_000 }).toBe(100);
    for await (const { name, document } of node.client.list<Execution>("executions")) {
      const states: (string | undefined)[] = [];
      for await (const version of node.client.history<Execution>("executions", name)) {
        states.unshift(version.document?.state);
      }
      expect(states).toEqual(["created", "running", document.state]);
      expect(document).toMatchObject(
        document.rounds === 0
          ? { state: "failed", error: expect.stringContaining("out of range") }
          : { state: "completed", output: derivedKey(document) },
      );
    }
  });

  it("continues when a client writes a document that is not an execution", async () => {
    const node = await start("P30D");
    await submit(node.greeting.ready, 1);
    await expect.poll(() => countEnded(node), { timeout: 30_000 }).toBe(1);
    for (const document of [null, "created", [], { state: "created" }]) {
      await node.client.put("executions", "odd", document);
    }
    await expect.poll(() => countEnded(node), { timeout: 30_000 }).toBe(2);
  });

  it(
    "makes executions that have ended expire, and counts the rest, even after kill -9",
    { tags: "rest/slow" },
    async () => {
      let node = await start("PT0.5S");
      await submit(node.greeting.ready, 60);
      await expect.poll(() => countEnded(node), { timeout: 30_000 }).toBeGreaterThan(0);
      // Documents expire according to the times of transactions, so a transaction must be written.
      await expect
        .poll(
          async () => {
            await node.client.put("ticks", "one", Date.now());
            return (await reportedCounters(node.greeting.ready)).counters;
          },
          { timeout: 30_000 },
        )
        .toEqual({});
      await node.kill();
      node = await start("PT0.5S");
      expect(node.greeting.counters).toEqual({});
      expect(await fullCount(node.client, node.greeting.txId)).toEqual({});
    },
  );

  it("exits if another compute node uses its store, and names that process", async () => {
    const { client } = await start("P30D");
    await client.put("executions", "e", execution(1));
    const env = { ...process.env, CAIRN_DIR: folder, CAIRN_HTTP_PORT: "0" };
    await expect(promisify(execFile)(process.execPath, [MAIN], { env })).rejects.toMatchObject({
      code: 3,
      stderr: expect.stringMatching(/in use by process \d+.*\n {2}hint: .*CAIRN_INDEX_PATH/),
    });
    expect(await client.get("executions", "e")).toBeDefined();
  });
});
