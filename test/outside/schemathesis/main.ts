// Tests a node against its OpenAPI document with schemathesis: node test/dist/outside/schemathesis/main.js [--rounds N] [--seed N]
import { copyFile, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { NodeProcess, ROOT } from "@cairn/test-support/cairn-process";
import { run, VERSIONS } from "../clients/tools.ts";
import { pythonEnvironment } from "../python-environment.ts";

const SOURCES = join(ROOT, "test/outside/schemathesis");
/**
 * The number of examples for each operation in the random phase; together with the other phases, there are more than
 * 5,000 cases.
 */
const EXAMPLES = 150;

const { values } = parseArgs({ options: { rounds: { type: "string" }, seed: { type: "string" } } });
const seed = values.seed ?? "1";

const bin = await pythonEnvironment("schemathesis", [`schemathesis==${VERSIONS.schemathesis}`]);
const folder = await mkdtemp(join(tmpdir(), "cairn-schemathesis-"));
const args = ["--json", "-j", JSON.stringify({ "cairn/http-server": { port: 0 } })];
const node = NodeProcess.start({ id: "judged", dir: folder, args });
try {
  await node.ready();
  const url = await node.url();
  const examples = values.rounds ?? String(EXAMPLES);
  // schemathesis writes its findings into its working directory.
  for (const file of ["hooks.py", "schemathesis.toml"])
    await copyFile(join(SOURCES, file), join(folder, file));
  const options = ["--checks", "all", "--seed", seed, "-n", examples, `${url}/openapi.json`];
  const program = [join(bin, "schemathesis"), "--config-file", "schemathesis.toml", "run", ...options];
  const output = await run(program, folder, { CAIRN_URL: url, CAIRN_SEED: seed });
  const summary = /^Test cases:\n\s*(.*)$/m.exec(output)?.[1] ?? output;
  process.stdout.write(`schemathesis: ${VERSIONS.schemathesis}, all phases and checks: ${summary}\n`);
} catch (error) {
  process.stdout.write(`${(error as Error).message}\n`);
  process.exitCode = 1;
} finally {
  await node.stop();
  await rm(folder, { recursive: true, force: true });
}
