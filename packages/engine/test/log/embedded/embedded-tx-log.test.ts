import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { levelProvider } from "@cairn/kv";
import { expect, it } from "vitest";
import type { LogMessage } from "../../../src/log/tx-log.ts";
import { openEmbeddedTxLog } from "../../../src/log/embedded/embedded-tx-log.ts";
import { describeTxLog, type TxLogHarness } from "../../../testing/tx-log-suite.ts";
import { describeRemoval, describeTrimming } from "../../../testing/tx-log-trimming-suite.ts";

async function start(): Promise<TxLogHarness> {
  const folder = await mkdtemp(join(tmpdir(), "cairn-log-"));
  return {
    open: () => openEmbeddedTxLog({ path: join(folder, "log") }),
    close: () => rm(folder, { recursive: true }),
  };
}

describeTxLog("the embedded log", start);
describeTrimming("the embedded log", start);
describeRemoval("the embedded log", start);

it("announces the messages that it stores, as the objects that it yields later", async () => {
  const harness = await start();
  const log = await harness.open();
  try {
    await log.create(() => Buffer.from("birth"));
    const announced: LogMessage[] = [];
    let stored = 0;
    const stop = log.onStoring?.((messages) => {
      expect(stored).toBe(0);
      announced.push(...messages);
    });
    await log.append(Buffer.from("first")).then(() => (stored += 1));
    expect(announced.map(({ position }) => position)).toEqual([2]);
    stop?.();
    await log.append(Buffer.from("second"));
    expect(announced).toHaveLength(1);
    const reading = new AbortController();
    for await (const [message] of log.read(2, { signal: reading.signal })) {
      expect(message).toBe(announced[0]);
      break;
    }
    reading.abort();
  } finally {
    await log.close();
    await harness.close();
  }
});

it("stores what arrives while its reader is busy as one group, and never waits long for the reader", async () => {
  const harness = await start();
  const log = await harness.open();
  const reading = new AbortController();
  try {
    await log.create(() => Buffer.from("birth"));
    const groups: number[] = [];
    log.onStoring?.((messages) => groups.push(messages.length));
    const messages = log.read(1, { signal: reading.signal })[Symbol.asyncIterator]();
    await messages.next();
    // The reader has message 1 and asks for nothing, so these two calls, in two turns, share a group.
    const first = log.append(Buffer.from("first"));
    await new Promise((resolve) => setImmediate(resolve));
    await Promise.all([first, log.append(Buffer.from("second"))]);
    expect(groups).toEqual([2]);
    const next = messages.next();
    expect((await next).value).toHaveLength(2);
    await log.append(Buffer.from("third"));
    expect(groups).toEqual([2, 1]);
  } finally {
    reading.abort();
    await log.close();
    await harness.close();
  }
});

it("consists of the rows that docs/internals/log-format.md describes", async () => {
  const folder = await mkdtemp(join(tmpdir(), "cairn-log-"));
  try {
    const log = await openEmbeddedTxLog({ path: join(folder, "log") });
    await log.create(() => Buffer.from("birth"));
    await log.append(Buffer.from("first"), { messageId: "once" });
    await log.close();
    const kv = await levelProvider().open(join(folder, "log"));
    const rows: string[] = [];
    for await (const page of kv.range({}))
      for (const [key] of page) rows.push(Buffer.from(key).toString("hex"));
    await kv.close();
    expect(rows).toEqual(["00", "0000000000000001", "0000000000000002"]);
  } finally {
    await rm(folder, { recursive: true });
  }
});
