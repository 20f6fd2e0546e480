// Runs independent judges: node test/dist/outside/main.js [NAME...] [--rounds N] [--seed N]
import { spawn } from "node:child_process";
import { once } from "node:events";
import { parseArgs } from "node:util";
import { ROOT } from "@cairn/test-support/cairn-process";

/**
 * Programs that compare Cairn with third-party software. Each fetches its dependencies, and reports those that the
 * machine lacks.
 */
const JUDGES: Readonly<Record<string, string>> = {
  "abstract-level": "packages/kv/dist/test/outside/abstract-level/main.js",
  alerts: "test/dist/outside/alerts/main.js",
  clients: "test/dist/outside/clients/main.js",
  deploy: "test/dist/outside/deploy/main.js",
  durations: "packages/config/dist/test/outside/durations/main.js",
  edn: "packages/config/dist/test/outside/edn/main.js",
  formats: "test/dist/outside/formats/main.js",
  json: "test/dist/outside/json/main.js",
  kubernetes: "test/dist/outside/kubernetes/main.js",
  porcupine: "test/dist/outside/porcupine/main.js",
  nats: "test/dist/outside/nats/main.js",
  promtool: "test/dist/outside/promtool/main.js",
  proxies: "test/dist/outside/proxies/main.js",
  robustness: "test/dist/outside/robustness/main.js",
  schemathesis: "test/dist/outside/schemathesis/main.js",
  xtdb: "test/dist/outside/xtdb/main.js",
};

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { rounds: { type: "string" }, seed: { type: "string" } },
});
const failed: string[] = [];
for (const name of positionals.length === 0 ? Object.keys(JUDGES) : positionals) {
  const program = JUDGES[name];
  if (program === undefined) {
    process.stderr.write(`There is no judge "${name}". Choose one of ${Object.keys(JUDGES).join(", ")}.\n`);
    process.exit(1);
  }
  const args = Object.entries(values).flatMap(([option, value]) => [`--${option}`, value]);
  const child = spawn(process.execPath, [program, ...args], { cwd: ROOT, stdio: "inherit" });
  const [code] = (await once(child, "exit")) as [number | null];
  if (code !== 0) failed.push(name);
}
if (failed.length > 0) {
  process.stderr.write(`Failed: ${failed.join(", ")}.\n`);
  process.exitCode = 1;
}
