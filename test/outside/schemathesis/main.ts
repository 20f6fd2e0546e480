// Has schemathesis try a node against its OpenAPI document: node test/dist/outside/schemathesis/main.js [--rounds N] [--seed N]
import { copyFile, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { NodeProcess } from "../../support/cairn-process.ts";
import { python, run, VERSIONS } from "../clients/tools.ts";

const CAIRN = fileURLToPath(new URL("./cli/main.js", import.meta.resolve("@cairn/node")));
const SOURCES = fileURLToPath(new URL("../../../outside/schemathesis/", import.meta.url));
/** Of each operation in the phase that tries at random; with the other phases these are more than 5,000 cases. */
const EXAMPLES = 150;

const { values } = parseArgs({ options: { rounds: { type: "string" }, seed: { type: "string" } } });
const seed = values.seed ?? "1";

const bin = await python("schemathesis", [`schemathesis==${VERSIONS.schemathesis}`]);
const folder = await mkdtemp(join(tmpdir(), "cairn-schemathesis-"));
const args = ["--json", "-j", JSON.stringify({ "cairn/http-server": { port: 0 } })];
const node = NodeProcess.start({ id: "judged", program: CAIRN, dir: folder, args });
try {
  await node.ready();
  const url = await node.url();
  const examples = values.rounds ?? String(EXAMPLES);
  // It keeps what it finds in the folder that it runs in.
  for (const file of ["hooks.py", "schemathesis.toml"])
    await copyFile(join(SOURCES, file), join(folder, file));
  const options = ["--checks", "all", "--seed", seed, "-n", examples, `${url}/openapi.json`];
  const program = [join(bin, "schemathesis"), "--config-file", "schemathesis.toml", "run", ...options];
  const said = await run(program, folder, { CAIRN_URL: url, CAIRN_SEED: seed });
  const summary = /^Test cases:\n\s*(.*)$/m.exec(said)?.[1] ?? said;
  process.stdout.write(`schemathesis: ${VERSIONS.schemathesis}, all phases and checks: ${summary}\n`);
} catch (error) {
  process.stdout.write(`${(error as Error).message}\n`);
  process.exitCode = 1;
} finally {
  await node.stop();
  await rm(folder, { recursive: true, force: true });
}
