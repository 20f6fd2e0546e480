// @module-tag nats
// @module-tag rest/slow
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { startNatsServer } from "@cairn/log-nats/testing";
import { expect, it, onTestFinished } from "vitest";
import { NodeProcess } from "@cairn/test-support/cairn-process";

const LINES = 60_000;
/** What may wait for the log and for the index, and a piece of a batch on its way between the two. */
const MAX_BEHIND = 2 * 4_096 + 64;

async function startNode(log: "embedded" | "nats"): Promise<{ node: NodeProcess; url: string }> {
  const dir = await mkdtemp(path.join(tmpdir(), "cairn-batch-"));
  onTestFinished(() => rm(dir, { recursive: true, force: true }));
  const env: NodeJS.ProcessEnv = {};
  if (log === "nats") {
    const nats = await startNatsServer({ storeDir: path.join(dir, "nats") });
    onTestFinished(() => nats.close());
    env["NATS_URL"] = nats.url;
  }
  const node = NodeProcess.start({ id: "n", dir, env });
  onTestFinished(() => node.kill());
  await node.ready();
  return { node, url: await node.url() };
}

function line(n: number): string {
  return `${JSON.stringify({ ops: [["put", "things", `default/k${n}`, { n, text: "x".repeat(200) }]] })}\n`;
}

it.each(["embedded", "nats"] as const)(
  "a batch keeps neither the index nor other clients of its node waiting (log: %s)",
  async (log) => {
    const { node, url } = await startNode(log);
    const progress = { isOver: false };
    const batch = fetch(`${url}/api/v1/tx/batch`, {
      method: "POST",
      headers: { "content-type": "application/x-ndjson" },
      body: Array.from({ length: LINES }, (_, n) => line(n)).join(""),
    }).finally(() => (progress.isOver = true));
    let rounds = 0;
    let furthest = 0;
    while (!progress.isOver) {
      rounds += 1;
      const { log: held, index } = await node.status();
      furthest = Math.max(furthest, (held.lastTxId ?? 0) - (index.txId ?? 0));
      const written = await fetch(`${url}/api/v1/others/a`, { method: "PUT", body: `${rounds}` });
      expect(written.status).toBeLessThan(300);
      const read = await fetch(`${url}/api/v1/others/a?linearizable=true`);
      expect([read.status, await read.json()]).toEqual([200, rounds]);
    }
    const answer = await batch;
    expect([answer.status, await answer.json()]).toMatchObject([202, { accepted: LINES }]);
    expect(rounds).toBeGreaterThan(1);
    expect(furthest).toBeLessThanOrEqual(MAX_BEHIND);
  },
);
