// Runs, until it is stopped or killed, a node whose reader the server removes after a second: node frozen-child.js NATS_URL DIR
import path from "node:path";
import { levelProvider } from "@cairn/kv";
import { runNode } from "@cairn/node";
import { openNatsTxLog } from "@cairn/log-nats/src/nats-tx-log";

const [, , servers = "", dir = ""] = process.argv;
const pullTiming = { expiresMs: 800, heartbeatMs: 300, inactiveMs: 1_000 };
const node = await runNode({
  nodeId: "frozen",
  dir,
  commandLine: (command) => `cairn ${command}`,
  openTxLog: async ({ signal }) => await openNatsTxLog({ servers, pullTiming, signal }),
  onLogMismatch: { regressed: "rebuild", different: "halt" },
  kvProvider: levelProvider(),
  dbDir: path.join(dir, "index"),
  checkpointer: undefined,
  http: { host: "127.0.0.1", port: 0, maxBody: 1_000_000 },
});
process.once("SIGTERM", () => void node.close().then(() => process.exit()));
await node.ready;
process.stdout.write(`${node.url}\n`);
