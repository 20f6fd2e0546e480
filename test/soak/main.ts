// Runs long campaigns of the fault tests: node test/dist/soak/main.js [NAME...] [--rounds N] [--seed N] [--minutes N]
// [--period SECONDS] For skew and lives also [--other PATH]: a built checkout of the other version.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { parseArgs } from "node:util";
import { ROOT } from "@cairn/test-support/cairn-process";

/**
 * A campaign that is a separate program, since it needs more than the tests (a C compiler, a build of another version).
 */
interface Program {
  readonly program: string;
  readonly rounds: number;
  /** The options of this command that are passed on to the program. */
  readonly options?: readonly ("other" | "minutes")[];
}

const PROGRAMS: Readonly<Record<string, Program>> = {
  resources: { program: "packages/engine/dist/test/faults/system-calls/main.js", rounds: 40 },
  skew: { program: "test/dist/skew/main.js", rounds: 20, options: ["other"] },
  lives: { program: "test/dist/lives/main.js", rounds: 30, options: ["other", "minutes"] },
};

/** The campaigns that are tests of the suite, with their default number of rounds or minutes. */
const SOAKS: Readonly<Record<string, { file: string; rounds: number } | { file: string; minutes: number }>> =
  {
    captures: { file: "packages/kv/test/capture/live-capture.test.ts", rounds: 500 },
    "nats-restarts": { file: "test/log-faults/nats-restarts.test.ts", rounds: 50 },
    "nats-cluster": { file: "test/log-faults/nats-cluster.test.ts", rounds: 20 },
    "index-kills": { file: "packages/engine/test/faults/killed-while-applying.test.ts", rounds: 1_000 },
    "five-nodes": { file: "test/checkpoint-faults/five-nodes.test.ts", minutes: 10 },
    "checkpoint-kills": { file: "test/checkpoint-faults/killed-while-saving.test.ts", rounds: 5 },
    "s3-faults": { file: "packages/checkpoint-s3/test/s3-faults.test.ts", rounds: 300 },
    "s3-broken-line": { file: "packages/checkpoint-s3/test/s3-broken-line.test.ts", rounds: 1 },
    backup: { file: "packages/engine/test/backup/simulation/backup-simulation.test.ts", rounds: 1_000 },
    watch: { file: "test/watch-faults/watch-torture.test.ts", rounds: 100 },
    forks: { file: "packages/engine/test/faults/forks.test.ts", rounds: 1_000 },
    "forked-writes": { file: "packages/engine/test/faults/forked-writes.test.ts", rounds: 300 },
    divergence: { file: "packages/engine/test/cluster/divergence-simulation.test.ts", rounds: 20 },
    foreign: { file: "packages/engine/test/faults/foreign-log.test.ts", rounds: 20_000 },
    power: { file: "packages/engine/test/power/traced-power-loss.test.ts", rounds: 2_000 },
    attached: { file: "packages/engine/test/join/attached/attached-joins.test.ts", rounds: 1_000 },
    crash: { file: "packages/engine/test/crash/crash.test.ts", rounds: 1_000 },
    flips: { file: "packages/engine/test/faults/flips/flips.test.ts", rounds: 1_000 },
    nemesis: { file: "test/nemesis/nemesis.test.ts", minutes: 60 },
    deliveries: { file: "test/deliveries/deliveries.test.ts", minutes: 10 },
    drains: { file: "test/deliveries/killed-drains.test.ts", rounds: 1_000 },
    "backup-reader": { file: "packages/engine/test/backup/reader-soak.test.ts", minutes: 60 },
    fuzz: { file: "packages/engine/test/faults/store-fuzz.test.ts", rounds: 1_000 },
  };

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: "string" },
    seed: { type: "string" },
    minutes: { type: "string" },
    period: { type: "string" },
    other: { type: "string" },
  },
});
const known = [...Object.keys(SOAKS), ...Object.keys(PROGRAMS)];
const names = positionals.length === 0 ? known : positionals;
const failed: string[] = [];
for (const name of names) {
  const soak = SOAKS[name];
  const other = PROGRAMS[name];
  if (other !== undefined) {
    if ((await runProgram(other)) !== 0) failed.push(name);
    continue;
  }
  if (soak === undefined) fail(`There is no campaign "${name}". Choose one of ${known.join(", ")}.`);
  if ((await run(name, soak)) !== 0) failed.push(name);
}
if (failed.length > 0) fail(`Failed: ${failed.join(", ")}.`);

async function run(
  name: string,
  soak: { file: string; rounds: number } | { file: string; minutes: number },
): Promise<number | null> {
  const env: NodeJS.ProcessEnv = { ...process.env };
  if (values.seed !== undefined) env["CAIRN_SOAK_SEED"] = String(count("--seed", values.seed));
  if ("minutes" in soak) {
    const minutes = count("--minutes", values.minutes ?? String(soak.minutes));
    const period = count("--period", values.period ?? "20");
    env["CAIRN_SOAK_MINUTES"] = String(minutes);
    env["CAIRN_SOAK_PERIOD_SECONDS"] = String(period);
    process.stdout.write(`${name}: ${minutes} minutes, a checkpoint about every ${period} s\n`);
  } else {
    const rounds = count("--rounds", values.rounds ?? String(soak.rounds));
    env["CAIRN_SOAK_ROUNDS"] = String(rounds);
    process.stdout.write(`${name}: ${rounds} rounds\n`);
  }
  const child = spawn(process.execPath, ["node_modules/vitest/vitest.mjs", "run", soak.file], {
    cwd: ROOT,
    env,
    stdio: "inherit",
  });
  const [code] = (await once(child, "exit")) as [number | null];
  return code;
}

async function runProgram({ program, rounds, options = [] }: Program): Promise<number | null> {
  const args = [program, "--seed", String(count("--seed", values.seed ?? "1"))];
  const isTimed = values.minutes !== undefined && options.includes("minutes");
  if (!isTimed) args.push("--rounds", String(count("--rounds", values.rounds ?? String(rounds))));
  for (const option of options) {
    const value = values[option];
    if (value !== undefined) args.push(`--${option}`, value);
  }
  const child = spawn(process.execPath, args, { cwd: ROOT, stdio: "inherit" });
  const [code] = (await once(child, "exit")) as [number | null];
  return code;
}

function count(option: string, text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1)
    fail(`${option} ${text}: the value must be a whole number, 1 or more.`);
  return value;
}

function fail(sentence: string): never {
  process.stderr.write(`${sentence}\n`);
  process.exit(1);
}
