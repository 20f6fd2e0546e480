// Checks the files that nodes write with an independent reader in Python that follows docs/: node
// test/dist/outside/formats/main.js [--rounds N] [--seed N]
import { spawnSync } from "node:child_process";
import { mkdtemp, rename, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { type NatsTestServer, startNatsServer } from "@cairn/log-nats/testing";
import { runCairnOrThrow, NodeProcess } from "@cairn/test-support/cairn-process";
import { newestArchive } from "@cairn/test-support/watched-store";
import { PYTHON, runPython } from "./python.ts";

/** Each round's kind of log, whether its policies bound history, and whether the log is lost and recovered from a checkpoint. */
const KINDS = [
  { log: "JetStream", history: false, recovered: false },
  { log: "embedded", history: false, recovered: true },
  { log: "JetStream", history: true, recovered: false },
  { log: "embedded", history: true, recovered: false },
] as const;

const { values } = parseArgs({ options: { rounds: { type: "string" }, seed: { type: "string" } } });
const rounds = Number(values.rounds ?? KINDS.length);
const firstSeed = Number(values.seed ?? 1);

const version = spawnSync(PYTHON, ["--version"], { encoding: "utf8" }).stdout.trim();
process.stdout.write(`formats: ${version}\n`);
for (let seed = firstSeed; seed < firstSeed + rounds; seed += 1) {
  const dir = await mkdtemp(join(tmpdir(), "cairn-formats-"));
  const isRight = await judge(dir, seed);
  if (isRight) await rm(dir, { recursive: true, force: true });
  else process.stdout.write(`  seed ${seed}: everything is in ${dir}\n`);
  if (!isRight) process.exitCode = 1;
}

/**
 * Runs a node, judges its files, and then tests the judge with changed bytes. Returns whether everything was correct.
 */
async function judge(dir: string, seed: number): Promise<boolean> {
  const { log, history, recovered } = KINDS[(seed - 1) % KINDS.length] ?? KINDS[0];
  const nats = log === "JetStream" ? await startNatsServer({ storeDir: join(dir, "nats") }) : undefined;
  try {
    const logs = [nats?.url ?? join(dir, "node-log")];
    let report = await drive(dir, nats, { seed, history });
    if (recovered && report !== undefined) {
      logs.unshift(await recoverLog(dir));
      // Submits the same transactions again, so that those with an id are duplicates.
      report = await drive(dir, nats, { seed, history });
    }
    if (report === undefined) return false;
    const { name } = report;
    const place = { index: join(dir, "node-index/live"), log: logs, store: join(dir, "checkpoints") };
    const judged = await runPython("judge.py", { ...place, ...report });
    const tried = await runPython("damage.py", { ...place, name, seed });
    const what = `${log}${history ? ", history bounded" : ""}${recovered ? ", continued in another log" : ""}`;
    process.stdout.write(`formats: seed ${seed}, ${what}: ${judged.output}\n  ${tried.output}\n`);
    return judged.succeeded && tried.succeeded;
  } finally {
    await nats?.close();
  }
}

/** Submits transactions to a node and stops it. Returns the node's report; undefined if that failed. */
async function drive(
  dir: string,
  nats: NatsTestServer | undefined,
  work: { readonly seed: number; readonly history: boolean },
): Promise<{ readonly name: string } | undefined> {
  const env: NodeJS.ProcessEnv = nats === undefined ? {} : { NATS_URL: nats.url };
  const checkpointer = {
    "approx-frequency": "P1D",
    store: {
      "cairn/module": "cairn.checkpoint/->filesystem-checkpoint-store",
      path: join(dir, "checkpoints"),
    },
    compression: work.history ? "gzip" : "none",
    "log-backup": { every: "PT0.3S" },
  };
  const config = { "cairn/index-store": { "kv-store": { checkpointer } } };
  const args = ["--json", "-j", JSON.stringify(config)];
  const node = NodeProcess.start({ id: "node", dir, args, env });
  await node.ready();
  const name = (await node.status()).log.name ?? "";
  const task = { url: await node.url(), nats: nats?.url ?? null, name, ...work };
  const { output, succeeded } = await runPython("drive.py", task);
  const exposed = async (): Promise<unknown> => (await node.status()).logBackup?.exposed.transactions;
  while ((await exposed()) !== 0);
  await node.stop();
  return succeeded ? { name, ...(JSON.parse(output) as object) } : undefined;
}

/** Moves the embedded log away and recovers it from the newest checkpoint. Returns the folder of the lost log. */
async function recoverLog(dir: string): Promise<string> {
  const lost = join(dir, "lost-log");
  await rename(join(dir, "node-log"), lost);
  const store = join(dir, "checkpoints");
  const newest = newestArchive(store);
  await runCairnOrThrow(["log", "recover", "--from", newest.slice(0, -".tar".length)], {
    env: { CAIRN_NODE_ID: "node", CAIRN_DIR: dir },
  });
  return lost;
}
