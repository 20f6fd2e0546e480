// Compares what nodes leave with a reader in Python that follows docs/ and shares nothing with them: node test/dist/outside/formats/main.js [--rounds N] [--seed N]
import { mkdtemp, readdir, rename, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { type NatsTestServer, startNatsServer } from "@cairn/node/testing";
import { mustCairn, NodeProcess } from "../../support/cairn-process.ts";
import { preparePython, runPython } from "./python.ts";

const CAIRN = fileURLToPath(new URL("./cli/main.js", import.meta.resolve("@cairn/node")));
/** Each round's log, whether its policies bound history, and whether another log goes on from a checkpoint. */
const KINDS = [
  { log: "JetStream", history: false, recovered: false },
  { log: "embedded", history: false, recovered: true },
  { log: "JetStream", history: true, recovered: false },
  { log: "embedded", history: true, recovered: false },
] as const;

const { values } = parseArgs({ options: { rounds: { type: "string" }, seed: { type: "string" } } });
const rounds = Number(values.rounds ?? KINDS.length);
const firstSeed = Number(values.seed ?? 1);

process.stdout.write(`formats: Python ${await preparePython()}\n`);
for (let seed = firstSeed; seed < firstSeed + rounds; seed += 1) {
  const dir = await mkdtemp(join(tmpdir(), "cairn-formats-"));
  const isRight = await judge(dir, seed);
  if (isRight) await rm(dir, { recursive: true, force: true });
  else process.stdout.write(`  seed ${seed}: everything is in ${dir}\n`);
  if (!isRight) process.exitCode = 1;
}

/** One node's life, and what is said of what it left; then of the same with a byte changed. */
async function judge(dir: string, seed: number): Promise<boolean> {
  const { log, history, recovered } = KINDS[(seed - 1) % KINDS.length] ?? KINDS[0];
  const nats = log === "JetStream" ? await startNatsServer({ storeDir: join(dir, "nats") }) : undefined;
  try {
    const logs = [nats?.url ?? join(dir, "node-log")];
    let said = await drive(dir, nats, { seed, history });
    if (recovered && said !== undefined) {
      logs.unshift(await beginAnew(dir));
      // The same work: what has an id is a duplicate.
      said = await drive(dir, nats, { seed, history });
    }
    if (said === undefined) return false;
    const { name } = said;
    const place = { index: join(dir, "node-index/live"), log: logs, store: join(dir, "checkpoints") };
    const judged = await runPython("judge.py", { ...place, ...said });
    const tried = await runPython("damage.py", { ...place, name, seed });
    const what = `${log}${history ? ", history bounded" : ""}${recovered ? ", gone on with in another log" : ""}`;
    process.stdout.write(`formats: seed ${seed}, ${what}: ${judged.output}\n  ${tried.output}\n`);
    return judged.isWell && tried.isWell;
  } finally {
    await nats?.close();
  }
}

/** A node is given work and stopped; answers what it said of itself, undefined where it refused. */
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
  };
  const config = { "cairn/index-store": { "kv-store": { checkpointer } } };
  const args = ["--json", "-j", JSON.stringify(config)];
  const node = NodeProcess.start({ id: "node", program: CAIRN, dir, args, env });
  await node.ready();
  const name = (await node.status()).log.name ?? "";
  const task = { url: await node.url(), nats: nats?.url ?? null, name, ...work };
  const { output, isWell } = await runPython("drive.py", task);
  await node.stop();
  return isWell ? { name, ...(JSON.parse(output) as object) } : undefined;
}

/** The embedded log is lost, and another one begun from the newest checkpoint; answers where the lost one lies. */
async function beginAnew(dir: string): Promise<string> {
  const lost = join(dir, "lost-log");
  await rename(join(dir, "node-log"), lost);
  const store = join(dir, "checkpoints");
  const names = (await readdir(store)).filter((file) => file.endsWith(".tar"));
  const newest = names.toSorted((a, b) => transactionOf(b) - transactionOf(a))[0] ?? "";
  await mustCairn(["log", "recover", "--from", newest.slice(0, -".tar".length)], {
    program: CAIRN,
    env: { CAIRN_NODE_ID: "node", CAIRN_DIR: dir },
  });
  return lost;
}

function transactionOf(archive: string): number {
  return Number(archive.split("-")[1]);
}
