// Runs a node whose system calls fail, one after another: node refused-node.js CONTROL DIR ERRNO PHASE FIRST STEP
// ROUNDS The library failing-calls.so must be preloaded (see main.ts). Prints a line for each round. A round that
// breaks a promise ends the process with code 1.
import { readdir, rm } from "node:fs/promises";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { filesystemStore, listCheckpoints } from "@cairn/checkpoint";
import { isCairnError, levelProvider } from "@cairn/kv";
import { pino } from "pino";
import { openEmbeddedTxLog } from "../../../src/log/embedded/embedded-tx-log.ts";
import type { CairnNode } from "../../../src/node/node.ts";
import { runNode } from "@cairn/node";
import { quietSystem } from "@cairn/test-support/nodes/quiet-system";
import { FAULTS, FaultControl } from "./fault-control.ts";

/** The codes of errors that these faults must never cause. */
const NEVER = new Set([
  "INTERNAL",
  "INDEX_CORRUPT",
  "INDEX_VERSION",
  "CHECKPOINT_CORRUPT",
  "CHECKPOINT_INCOMPLETE",
  "LOG_GAP",
  "LOG_REGRESSED",
  "LOG_DIFFERENT",
  "LOG_TRIMMED",
]);
const RECOVERED_WITHIN_MS = 30_000;
const PUTS = 6;
const KEYS = 24;

const [, , controlPath = "", dir = "", errno = "", phase = "", first = "0", step = "1", rounds = "1"] =
  process.argv;
const fault = FAULTS[errno];
if (fault === undefined) throw new Error(`no fault ${errno}`);
const control = new FaultControl(controlPath);
const store = filesystemStore({ path: path.join(dir, "checkpoints") });
/** The possible values of each key: the last acknowledged one, or one attempted after that. */
const expected = new Map<string, string[]>();
const broken: string[] = [];
const told: string[] = [];
let count = 0;

const logger = pino(
  { level: "warn" },
  {
    write(line: string) {
      const { code, msg } = JSON.parse(line) as { code?: string; msg: string };
      told.push(`${code}: ${msg}`);
      if (code !== undefined && NEVER.has(code)) broken.push(`the log says ${code}: ${msg}`);
    },
  },
);

function note(doing: string, error: unknown): void {
  const code = isCairnError(error) ? error.code : undefined;
  const said = error instanceof Error ? error.message : String(error);
  told.push(`${doing} ${code}: ${said}`);
  if (code === undefined || NEVER.has(code)) broken.push(`${doing}: ${code} ${said}`);
}

async function tried<T>(doing: string, work: () => Promise<T>): Promise<T | undefined> {
  try {
    return await work();
  } catch (error) {
    note(doing, error);
    return undefined;
  }
}

async function start(): Promise<CairnNode> {
  const system = quietSystem({
    folder: dir,
    nodeId: "a",
    openTxLog: () => openEmbeddedTxLog({ path: path.join(dir, "log") }),
    checkpointer: { store },
  });
  // The buffers are small, so that a few puts flush tables and compact them.
  return await runNode({ ...system, kvProvider: levelProvider({ writeBufferSize: 64 * 1024 }) }, { logger });
}

async function put(node: CairnNode): Promise<number | undefined> {
  const name = `k${count % KEYS}`;
  count += 1;
  const text = `${count} `.repeat(3_000);
  const may = expected.get(name) ?? [];
  const { txId } = (await tried("put", () => node.submit({ ops: [["put", "b", name, text]] }))) ?? {};
  // A failed submission may nevertheless be in the log.
  expected.set(name, txId === undefined ? [...may, text] : [text]);
  return txId;
}

async function check(node: CairnNode, doing: string, asOf?: number): Promise<void> {
  for (const [name, may] of expected) {
    const key = { bucket: "b", namespace: "default", name };
    const found = await tried(doing, async () => ({
      document: await node.get(key, { stale: asOf === undefined }),
    }));
    if (found === undefined) continue;
    const value: unknown = found.document === undefined ? undefined : JSON.parse(found.document.json);
    if (asOf !== undefined && may.length > 0 && !may.some((text) => text === value)) {
      broken.push(
        `${name} holds ${String(value).slice(0, 8)} and not ${may.map((text) => text.slice(0, 8)).join(" or ")}`,
      );
    }
  }
}

async function use(node: CairnNode): Promise<void> {
  for (let n = 0; n < PUTS; n += 1) {
    if ((await put(node)) === undefined) await delay(5);
  }
  await check(node, "read");
  await tried("checkpoint", () => node.checkpoint().done);
}

/** Waits until a ready node accepts and indexes a put. */
async function recovered(node: CairnNode): Promise<boolean> {
  const before = told.length;
  const end = Date.now() + RECOVERED_WITHIN_MS;
  while (Date.now() < end) {
    const status = await tried("status", () => node.status());
    if (status?.failure != null && NEVER.has(status.failure.code))
      broken.push(`failed: ${status.failure.code}`);
    if (status?.phase === "ready") {
      const txId = await put(node);
      if (txId !== undefined) {
        const awaited = await tried("await", () => node.await(txId, { timeoutMs: 10_000 }));
        if (awaited !== undefined) {
          await check(node, "check", txId);
          return true;
        }
      }
    }
    await delay(20);
  }
  broken.push(`not ready after ${RECOVERED_WITHIN_MS} ms: ${told.slice(before).slice(-2).join("; ")}`);
  return false;
}

let node: CairnNode | undefined = await start();
await node.ready;
for (let n = 0; n < KEYS; n += 1) await put(node);
await recovered(node);
await node.checkpoint().done;

for (let round = 0; round < Number(rounds); round += 1) {
  const after = Number(first) + round * Number(step);
  // The call fails only once, or continuously until the fault is over.
  const failing = round % 2 === 0 ? 1 : -1;
  told.length = 0;
  if (phase === "running") {
    node ??= await start();
    control.arm(fault, after, failing);
    await use(node);
  } else {
    await node?.close();
    node = undefined;
    if (phase === "restoring") await rm(path.join(dir, "a-index"), { recursive: true, force: true });
    control.arm(fault, after, failing);
    node = await tried("start", start);
    // The fault lasts until the node has joined or failed to join.
    if (node !== undefined) await Promise.race([node.ready, delay(300)]);
  }
  const { seen, failed, group } = control.disarm();
  if (node === undefined) node = await tried("start again", start);
  if (node !== undefined) await recovered(node);
  const aside = await readdir(path.join(dir, "a-index", "quarantine")).catch(() => []);
  if (aside.length > 0) broken.push(`moved aside: ${aside.join(", ")}`);
  const { skipped } = await listCheckpoints(store);
  for (const { name, error } of skipped) broken.push(`checkpoint ${name}: ${error.code} ${error.message}`);
  process.stdout.write(
    `${JSON.stringify({ errno, phase, after, failing, seen, failed, group, broken, ...(broken.length > 0 ? { told } : {}) })}\n`,
  );
  if (broken.length > 0) process.exit(1);
  if (seen < after) break;
}
await node?.close();
