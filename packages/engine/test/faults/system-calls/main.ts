// Makes system calls of a node fail, one after another: node main.js [--rounds N] [--seed N] There are N rounds for
// every error of the table and every phase of a node. In each, the n-th call on the node's files fails, either once or
// continuously until the fault is over. After each round, the node must be ready again by itself, with everything that
// it acknowledged, nothing moved aside and no checkpoint damaged.
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { availableParallelism, tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { FAULTS, OPENING } from "./fault-control.ts";

const SOURCE = fileURLToPath(
  new URL("../../../../test/faults/system-calls/failing-calls.c", import.meta.url),
);
const NODE = fileURLToPath(new URL("./refused-node.js", import.meta.url));
const PHASES = ["running", "starting", "restoring"];
/**
 * The approximate number of calls in a phase that can fail in this way. With fewer rounds, not every one of them fails.
 */
const CALLS = 400;
const CALLS_THAT_OPEN = 100;
const CONTROL_BYTES = 4_096;

const { values } = parseArgs({ options: { rounds: { type: "string" }, seed: { type: "string" } } });
const rounds = Number(values.rounds ?? 40);
const seed = Number(values.seed ?? 1);

const folder = await mkdtemp(path.join(tmpdir(), "cairn-system-calls-"));
const library = path.join(folder, "failing-calls.so");
buildLibrary();
const waiting = Object.keys(FAULTS).flatMap((errno) => PHASES.map((phase) => ({ errno, phase })));
const failures: string[] = [];
let count = 0;
await Promise.all(Array.from({ length: Math.min(2, availableParallelism()) }, work));
process.stdout.write(`system calls: ${count} rounds, ${failures.length} broken, seed ${seed}\n`);
if (failures.length > 0) {
  process.stdout.write(`${failures.join("\n")}\nwhat they left is in ${folder}\n`);
  process.exit(1);
}
await rm(folder, { recursive: true, force: true });

function buildLibrary(): void {
  if (process.platform !== "linux") fail("Failing system calls can be injected only on Linux (LD_PRELOAD).");
  const built = spawnSync("gcc", ["-shared", "-fPIC", "-O1", "-o", library, SOURCE, "-ldl"], {
    encoding: "utf8",
  });
  if (built.error !== undefined)
    fail("This soak needs a C compiler: install gcc (apt-get install gcc libc6-dev).");
  if (built.status !== 0) fail(`gcc does not build ${SOURCE}:\n${built.stderr}`);
}

async function work(): Promise<void> {
  for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
    await campaign(next.errno, next.phase);
  }
}

async function campaign(errno: string, phase: string): Promise<void> {
  const place = path.join(folder, `${errno}-${phase}`);
  const control = path.join(place, "control");
  const dir = path.join(place, "node");
  await mkdir(dir, { recursive: true });
  await writeFile(control, Buffer.alloc(CONTROL_BYTES));
  const calls = FAULTS[errno]?.groups === OPENING ? CALLS_THAT_OPEN : CALLS;
  const step = Math.max(1, Math.floor(calls / rounds));
  const args = [NODE, control, dir, errno, phase, String(seed % step), String(step), String(rounds)];
  const env = {
    ...process.env,
    LD_PRELOAD: library,
    CAIRN_FAULT_CONTROL: control,
    CAIRN_FAULT_DIR: dir,
  };
  const child = spawn(process.execPath, args, { env, stdio: ["ignore", "pipe", "pipe"] });
  const output: Buffer[] = [];
  child.stdout.on("data", (chunk: Buffer) => output.push(chunk));
  child.stderr.on("data", (chunk: Buffer) => output.push(chunk));
  const [code] = (await once(child, "close")) as [number | null];
  const lines = Buffer.concat(output).toString().trimEnd().split("\n");
  count += lines.length;
  process.stdout.write(`${errno} while ${phase}: ${lines.length} rounds${code === 0 ? "" : ", BROKEN"}\n`);
  if (code !== 0) failures.push(`${errno} while ${phase}: ${lines.at(-1) ?? ""}`);
  if (code === 0) await rm(place, { recursive: true, force: true });
}

function fail(sentence: string): never {
  process.stderr.write(`${sentence}\n`);
  process.exit(3);
}
