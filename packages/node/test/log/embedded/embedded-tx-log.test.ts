import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
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
