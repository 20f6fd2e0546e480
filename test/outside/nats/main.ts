// Runs the tests that involve NATS against the newest nats-server: node test/dist/outside/nats/main.js [--rounds N]
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdir } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { parseArgs } from "node:util";
import { ROOT } from "@cairn/test-support/cairn-process";

const FOLDER = join(ROOT, "node_modules", ".cache", "nats");
const MODULE = "github.com/nats-io/nats-server/v2@latest";

const { values } = parseArgs({ options: { rounds: { type: "string" }, seed: { type: "string" } } });

const version = await fetchNewestServer();
process.stdout.write(`nats: ${version}\n`);
for (let round = 0; round < Number(values.rounds ?? 1); round += 1) {
  const path = [FOLDER, process.env["PATH"] ?? ""].join(delimiter);
  const vitest = join(ROOT, "node_modules", "vitest", "vitest.mjs");
  const args = [vitest, "run", "--tags-filter", "nats"];
  const child = spawn(process.execPath, args, {
    cwd: ROOT,
    stdio: "inherit",
    env: { ...process.env, PATH: path },
  });
  const [code] = (await once(child, "exit")) as [number | null];
  if (code !== 0) process.exitCode = 1;
}

/** Fetches the newest server with Go into {@link FOLDER}, and returns its version. */
async function fetchNewestServer(): Promise<string> {
  if (spawnSync("go", ["version"]).error !== undefined)
    throw new Error(`This needs Go, and there is no "go".`);
  await mkdir(FOLDER, { recursive: true });
  const env = { ...process.env, GOBIN: FOLDER };
  const fetched = spawnSync("go", ["install", MODULE], { encoding: "utf8", env });
  if (fetched.status !== 0) throw new Error(`Go could not fetch nats-server:\n${fetched.stderr}`);
  return spawnSync(join(FOLDER, "nats-server"), ["--version"], { encoding: "utf8" }).stdout.trim();
}
