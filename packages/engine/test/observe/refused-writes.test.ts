// @module-tag nats
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { expect, it, onTestFinished, vi } from "vitest";
import type { CairnNode } from "../../src/node/node.ts";
import { startNode } from "@cairn/node";
import { NatsOperator, type NatsTestServer, startNatsServer } from "@cairn/log-nats/testing";
import { cairn, CapturedTerminal } from "@cairn/test-support/nodes/captured-terminal";

const PATIENT = { timeout: 30_000 };

async function started(...args: string[]): Promise<NatsTestServer> {
  const nats = await startNatsServer({ args });
  onTestFinished(() => nats.close());
  return nats;
}

async function nodeOn(nats: NatsTestServer, cwd: string): Promise<CairnNode> {
  const node = await startNode(
    {
      "cairn/node": { id: "a" },
      "cairn/tx-log": { "cairn/module": "cairn.nats/->tx-log", servers: [nats.url] },
      "cairn/http-server": { port: 0 },
    },
    { env: {}, cwd },
  );
  onTestFinished(() => node.close());
  await node.ready;
  return node;
}

/** Writes until the log is full. */
async function fill(node: CairnNode): Promise<void> {
  const text = "x".repeat(200_000);
  for (let n = 0; n < 100; n += 1)
    await node.submit({ ops: [["put", "things", `default/k${n}`, { text, n }]] });
}

it(
  "a full log is reported by the status, the cluster, the metrics and the exit code until it accepts transactions again",
  { tags: "rest/slow" },
  async () => {
    const folder = await mkdtemp(path.join(tmpdir(), "cairn-full-"));
    onTestFinished(() => rm(folder, { recursive: true, force: true }));
    const config = path.join(folder, "nats.conf");
    await writeFile(config, "jetstream { max_file_store: 3MB }\n");
    const nats = await started("-c", config);
    const node = await nodeOn(nats, folder);
    const statusCommand = async () =>
      await cairn(["status", "--url", node.url ?? ""], new CapturedTerminal({ cwd: folder }));
    const gauge = async (): Promise<string | undefined> =>
      /^cairn_finding\{code="writes-refused",severity="failing"\} (\d)$/m.exec(await node.metrics())?.[1];
    expect([(await statusCommand()).code, (await node.status()).findings, await gauge()]).toEqual([
      0,
      [],
      "0",
    ]);

    await expect(fill(node)).rejects.toMatchObject({ code: "LOG_FULL" });
    const refused = { code: "writes-refused", severity: "failing", error: "LOG_FULL" };
    expect(await node.status()).toMatchObject({
      verdict: { state: "failing", hint: expect.stringContaining("max_file_store") },
      findings: [
        {
          ...refused,
          message: expect.stringMatching(/^Transactions are refused: The stream "cairn" is full/),
        },
      ],
    });
    const response = await fetch(`${node.url}/status/cluster`);
    expect(await response.json()).toMatchObject({
      verdict: { state: "failing" },
      findings: [{ ...refused, node: "a" }],
    });
    const { code, stdout, stderr } = await statusCommand();
    expect(code).toBe(3);
    expect(stdout).toMatch(
      /^Failing +LOG_FULL: Transactions are refused: .*\n +Meanwhile, .*\n +Free some space /m,
    );
    expect(stderr).toMatch(/^NOT_READY: a: LOG_FULL: Transactions are refused: /);
    expect(await gauge()).toBe("1");

    // The reason is gone, and no client writes: the node finds out by itself.
    await NatsOperator.at(nats.url, async (operator) => await operator.purgeBefore(10));
    await vi.waitFor(async () => expect((await node.status()).log.refused).toBeNull(), PATIENT);
    expect((await node.status()).findings.filter(({ code: one }) => one === "writes-refused")).toEqual([]);
    expect([(await statusCommand()).code, await gauge()]).toEqual([0, "0"]);
    const { txId } = await node.submit({ ops: [["put", "things", "default/again", 1]] });
    await node.await(txId);
  },
);

it(
  "a log that acknowledges nothing is reported until it does, even if the only write waited briefly for it",
  { tags: "rest/slow" },
  async () => {
    const folder = await mkdtemp(path.join(tmpdir(), "cairn-silent-"));
    onTestFinished(() => rm(folder, { recursive: true, force: true }));
    const nats = await started();
    const node = await nodeOn(nats, folder);
    nats.freeze();
    const write = node.submit({ ops: [["put", "things", "default/late", 1]] }, { timeoutMs: 500 });
    await expect(write).rejects.toMatchObject({ code: "TX_TIMEOUT" });
    const codes = async () => (await node.status()).findings.map(({ code }) => code);
    await vi.waitFor(async () => expect(await codes()).toContain("writes-refused"), PATIENT);
    nats.thaw();
    await vi.waitFor(async () => expect(await codes()).toEqual([]), PATIENT);
  },
);
