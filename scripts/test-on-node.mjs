// Builds and tests with another version of Node: node scripts/test-on-node.mjs 22 [arguments of vitest run]. Node comes as an npm package
// and is kept in the system's temporary folder.
import { spawnSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("..", import.meta.url));

function run(command, args, options = {}) {
  const { status, error } = spawnSync(command, args, { cwd: ROOT, stdio: "inherit", ...options });
  if (error !== undefined) throw error;
  if (status !== 0) process.exit(status ?? 1);
}

const [version, ...tests] = process.argv.slice(2);
if (version === undefined || !/^\d+(?:\.\d+){0,2}$/.test(version)) {
  console.error("Give a version of Node, for example: pnpm run test:node 22");
  process.exit(2);
}
const prefix = join(tmpdir(), `cairn-node-${version}`);
mkdirSync(prefix, { recursive: true });
run("npm", ["install", "--prefix", prefix, "--prefer-offline", "--no-audit", "--no-fund", `node@${version}`]);

const bin = join(prefix, "node_modules", "node", "bin");
const env = { ...process.env, PATH: `${bin}${delimiter}${process.env.PATH ?? ""}` };
const node = join(bin, "node");
run(node, ["--version"]);
run(node, ["node_modules/typescript/bin/tsc", "-b"], { env });
run(node, ["scripts/bundle.mjs"], { env });
run(node, ["scripts/setup-servers.mjs"], { env });
run(node, ["node_modules/vitest/vitest.mjs", "run", ...tests], { env });
