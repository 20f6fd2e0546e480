import type { NodeStatus, PolicyState, TxOutcome } from "@cairn/client";
import { timeoutSignal } from "@cairn/client/protocol";
import { configSchema, configAsJson, printConfig, productionNotices, requireConfig } from "@cairn/config";
import type { PresentLog } from "@cairn/config";
import { readFilesOf } from "@cairn/node";
import { type CommandRun, command, commandGroup } from "../options/command.ts";
import {
  CONFIGURATION_OPTIONS,
  type ConfigurationOptions,
  readConfiguration,
} from "../options/configuration.ts";
import { openNode } from "../options/node-address.ts";
import { UsageError } from "../terminal/report-error.ts";
import { isCairnError } from "@cairn/kv";

const addCheck = command({
  syntax: "check",
  description: "Check the configuration without starting anything",
  examples: ["cairn config check -f cairn.edn"],
  options: CONFIGURATION_OPTIONS,
  async act(run) {
    const config = requireConfig(await readConfiguration(run.options, run.terminal, { isForNode: true }));
    const present = await presentLog(run, config.nodeId);
    const notices = [...config.notices, ...productionNotices(config, present)];
    await readFilesOf(config, (notice) => void notices.push(notice));
    const lines = [...notices.map((notice) => `notice: ${notice}`), "ok"];
    await run.answer({ ok: true, notices }, lines.join("\n"));
  },
});

/** The number of transactions over which the present rate is measured. */
const RATE_TRANSACTIONS = 10_000;
/** No check of a file waits for a node for longer than this. */
const NODE_ANSWERS_MS = 1_000;

/** Asks the node of the configuration; undefined if it does not run here or does not tell. */
async function presentLog(
  run: CommandRun<ConfigurationOptions>,
  nodeId: string,
): Promise<PresentLog | undefined> {
  const signal = timeoutSignal(NODE_ANSWERS_MS);
  try {
    const node = await openNode(run);
    const status = (await node.json({ path: "/status", signal })) as NodeStatus;
    const { bytes, txId, lag } = status.index;
    if (status.node !== nodeId || bytes === null || txId === null || lag !== 0) return undefined;
    const { policies } = (await node.json({ path: "/api/v1/policies", signal })) as PolicyState;
    const from = Math.max(2, status.log.firstTxId ?? 0, txId - RATE_TRANSACTIONS);
    const { txTime } = (await node.json({ path: `/api/v1/tx/${from}`, signal })) as TxOutcome;
    const seconds = (Date.now() - Date.parse(txTime)) / 1_000;
    return { policies, writesPerSecond: (txId - from) / Math.max(seconds, 1), bytesPerWrite: bytes / txId };
  } catch (error) {
    if (isCairnError(error) || error instanceof UsageError || signal.aborted) return undefined;
    throw error;
  }
}

const addPrint = command({
  syntax: "print",
  description: "Print every value with its origin, but redact secrets",
  examples: ["NATS_URL=nats://10.0.0.7:4222 cairn config print"],
  options: CONFIGURATION_OPTIONS,
  async act(run) {
    const config = requireConfig(await readConfiguration(run.options, run.terminal));
    await run.answer(configAsJson(config), printConfig(config).trimEnd());
  },
});

const addSchema = command({
  syntax: "schema",
  description: "Print a JSON Schema of the configuration, for editors",
  examples: ["cairn config schema > cairn.schema.json"],
  options: {},
  async act(run) {
    const schema = configSchema();
    await run.answer(schema, JSON.stringify(schema, undefined, 2));
  },
});

export const addConfig = commandGroup("config", "Check and print the configuration", [
  addCheck,
  addPrint,
  addSchema,
]);
