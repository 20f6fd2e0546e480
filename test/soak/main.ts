// Runs fault tests of the suite with many more rounds: node test/dist/soak/main.js [--only NAME] [--rounds N] [--seed N]
import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));

/** What can be soaked: the test, and how many rounds it makes when nothing else is said. */
const SOAKS: Readonly<Record<string, { file: string; rounds: number }>> = {
  "nats-restarts": { file: "test/log-faults/nats-restarts.test.ts", rounds: 50 },
  "nats-cluster": { file: "test/log-faults/nats-cluster.test.ts", rounds: 20 },
  "index-kills": { file: "packages/node/test/faults/killed-while-applying.test.ts", rounds: 1_000 },
};

const { values } = parseArgs({
  options: { only: { type: "string" }, rounds: { type: "string" }, seed: { type: "string" } },
});
const names = values.only === undefined ? Object.keys(SOAKS) : [values.only];
const failed: string[] = [];
for (const name of names) {
  const soak = SOAKS[name];
  if (soak === undefined) fail(`There is no soak "${name}": choose one of ${Object.keys(SOAKS).join(", ")}.`);
  const rounds = Number(values.rounds ?? soak.rounds);
  if (!Number.isSafeInteger(rounds) || rounds < 1) fail(`"${values.rounds}" is not a number of rounds.`);
  process.stdout.write(`${name}: ${rounds} rounds\n`);
  if ((await run(soak.file, rounds)) !== 0) failed.push(name);
}
if (failed.length > 0) fail(`Failed: ${failed.join(", ")}.`);

async function run(file: string, rounds: number): Promise<number | null> {
  const seed = values.seed === undefined ? {} : { CAIRN_SOAK_SEED: values.seed };
  const child = spawn(process.execPath, ["node_modules/vitest/vitest.mjs", "run", file], {
    cwd: ROOT,
    env: { ...process.env, CAIRN_SOAK_ROUNDS: String(rounds), ...seed },
    stdio: "inherit",
  });
  const [code] = (await once(child, "exit")) as [number | null];
  return code;
}

function fail(sentence: string): never {
  process.stderr.write(`${sentence}\n`);
  process.exit(1);
}
