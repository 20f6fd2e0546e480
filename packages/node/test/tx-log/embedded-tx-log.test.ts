import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openEmbeddedTxLog } from "../../src/tx-log/embedded-tx-log.ts";
import { describeTxLog } from "../../testing/tx-log-suite.ts";

describeTxLog("the embedded log", async () => {
  const folder = await mkdtemp(join(tmpdir(), "cairn-log-"));
  return {
    open: () => openEmbeddedTxLog({ path: join(folder, "log") }),
    close: () => rm(folder, { recursive: true }),
  };
});
