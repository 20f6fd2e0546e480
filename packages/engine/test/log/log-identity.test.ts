import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { openEmbeddedTxLog } from "../../src/log/embedded/embedded-tx-log.ts";
import { readLogIdentity } from "../../src/log/log-identity.ts";
import type { TxLog } from "../../src/log/tx-log.ts";
import { encodeTransaction } from "../../src/transactions/transaction-codec.ts";
import { bytes } from "../../testing/log-messages.ts";

/** Returns a log whose first message is made by `first`. */
async function beginning(first: (logId: string) => Uint8Array): Promise<TxLog> {
  const folder = await mkdtemp(path.join(tmpdir(), "cairn-identity-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const log = await openEmbeddedTxLog({ path: path.join(folder, "log") });
  onTestFinished(() => log.close());
  await log.create(first);
  return log;
}

it("the error explains what to do if a transaction precedes the birth record, so that no log can begin there", async () => {
  const log = await beginning((id) => encodeTransaction({ ops: [["put", "pods", "a", 1]] }, id));
  await expect(readLogIdentity(log)).rejects.toMatchObject({
    code: "LOG_DIFFERENT",
    message: expect.stringContaining("its first message is a transaction"),
    hint: expect.stringMatching(/Delete the stream .*log recover.*log create --empty/),
  });
});

it("the error explains what to do about a stream that is not a Cairn log, and contains no false statement about it", async () => {
  const log = await beginning(() => bytes("something else"));
  await expect(readLogIdentity(log)).rejects.toMatchObject({
    code: "LOG_DIFFERENT",
    hint: expect.not.stringContaining("Nothing was read"),
  });
});
