// @module-tag nats
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { NodeStatus } from "@cairn/client";
import { encodeBirthRecord, encodeTransaction } from "../../src/transactions/transaction-codec.ts";
import { openNatsTxLog } from "@cairn/log-nats/src/nats-tx-log";
import type { TxLog } from "../../src/log/tx-log.ts";
import { LogFold } from "../../testing/log-fold.ts";
import { NatsOperator, type NatsTestServer, startNatsServer } from "@cairn/log-nats/testing";

const CHILD = fileURLToPath(new URL("../../dist/test/faults/frozen-child.js", import.meta.url));

let dir = "";
let nats: NatsTestServer;
let log: TxLog;
let child: ChildProcess;
let url = "";
beforeEach(async () => {
  dir = await mkdtemp(path.join(tmpdir(), "cairn-frozen-"));
  nats = await startNatsServer();
  log = await openNatsTxLog({ servers: nats.url });
  await log.create((id) => encodeBirthRecord({ log: id, offset: 0 }));
  await append(50, "before");
  child = spawn(process.execPath, [CHILD, nats.url, dir], { stdio: ["ignore", "pipe", "inherit"] });
  if (child.stdout === null) throw new Error("The node has no output.");
  for await (const line of createInterface({ input: child.stdout })) {
    url = line;
    break;
  }
});
afterEach(async () => {
  const exited = once(child, "exit");
  child.kill("SIGKILL");
  await exited;
  await log.close();
  await nats.close();
  await rm(dir, { recursive: true, force: true });
});

async function append(count: number, value: string): Promise<void> {
  const logId = (await log.id()) ?? "";
  await Promise.all(
    Array.from({ length: count }, (_, n) =>
      log.append(encodeTransaction({ ops: [["put", "things", `default/k${n}`, value]] }, logId)),
    ),
  );
}

async function status(): Promise<NodeStatus> {
  return (await (await fetch(`${url}/status`)).json()) as NodeStatus;
}

async function consumers(): Promise<number> {
  return await NatsOperator.at(nats.url, async (operator) => await operator.consumers());
}

/** Freezes the node's process until the server has removed its consumer. */
async function freeze(): Promise<void> {
  expect(await consumers()).toBe(1);
  child.kill("SIGSTOP");
  await expect.poll(consumers, { timeout: 30_000, interval: 100 }).toBe(0);
}

async function expectContinued(count: number): Promise<void> {
  await freeze();
  await append(count, "meanwhile");
  child.kill("SIGCONT");
  const { last } = await log.bounds();
  await vi.waitFor(async () => expect((await status()).index.txId).toBe(last), { timeout: 30_000 });
  const fold = await NatsOperator.at(nats.url, async (operator) => await LogFold.of(operator.messages()));
  const response = await fetch(`${url}/api/v1/digest`);
  expect(await response.json()).toEqual({ txId: fold.txId, digest: fold.digest() });
  expect((await status()).join).toMatchObject({ movedAside: [], restoredFrom: null });
}

describe("a node that is frozen for longer than its server keeps an idle consumer", () => {
  it("continues where it stopped, with everything stored since", { tags: "rest/slow" }, async () => {
    await expectContinued(100);
  });

  it(
    "continues where it stopped, with thousands of messages stored since",
    { tags: "rest/slow" },
    async () => {
      await expectContinued(6_000);
    },
  );

  it(
    "halts if the log was recreated in the meantime, and serves reads from neither log",
    { tags: "rest/slow" },
    async () => {
      await freeze();
      await NatsOperator.at(nats.url, async (operator) => await operator.deleteStream());
      await log.create((id) => encodeBirthRecord({ log: id, offset: 0 }));
      await append(200, "of another log");
      child.kill("SIGCONT");
      await vi.waitFor(async () => expect((await status()).phase).toBe("failed"), { timeout: 30_000 });
      expect((await status()).failure?.code).toBe("LOG_DIFFERENT");
      expect((await fetch(`${url}/api/v1/things/default/k0`)).status).toBe(503);
      const stale = await fetch(`${url}/api/v1/things/default/k0?stale=true`);
      expect(await stale.json()).toBe("before");
    },
  );
});
