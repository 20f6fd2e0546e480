// Runs the tests of S3 against real servers: node scripts/test-s3.mjs [radosgw|swift]... [further arguments of vitest]
// Without a name: against what CAIRN_TEST_S3_ENDPOINT names, else the small service of localstack.
import { spawnSync } from "node:child_process";

const SERVERS = ["radosgw", "swift"];
const TESTS = [
  "packages/checkpoint/test/stores/s3/s3-service.test.ts",
  "packages/checkpoint/test/stores/s3/s3-refusals.test.ts",
  "packages/checkpoint/test/stores/s3/s3-faults.test.ts",
  "packages/checkpoint/test/stores/s3/s3-broken-line.test.ts",
  "packages/checkpoint/test/stores/s3/s3-kill.test.ts",
  "test/s3-cluster.test.ts",
];

const args = process.argv.slice(2).filter((arg) => arg !== "--");
const named = SERVERS.filter((name) => args.includes(name));
const rest = args.filter((arg) => !SERVERS.includes(arg));

/** The variables that a server's script tells to a shell. */
function variablesOf(told) {
  const lines = told.matchAll(/^export (\w+)='?([^'\n]*)'?$/gm);
  return Object.fromEntries([...lines].map(([, name, value]) => [name, value]));
}

function runTests(env) {
  console.log(`S3 tests against ${env.CAIRN_TEST_S3_NAME ?? "the small service of localstack"}`);
  const { status } = spawnSync(
    process.execPath,
    ["node_modules/vitest/vitest.mjs", "run", ...TESTS, ...rest],
    { stdio: "inherit", env: { ...process.env, ...env } },
  );
  return status === 0;
}

function testOn(name) {
  const script = `localstack/${name}.sh`;
  const { status, stdout } = spawnSync("bash", [script, "up"], {
    stdio: ["ignore", "pipe", "inherit"],
    encoding: "utf8",
  });
  try {
    return status === 0 && runTests(variablesOf(stdout));
  } finally {
    spawnSync("bash", [script, "down"], { stdio: "inherit" });
  }
}

const failed = named.filter((name) => !testOn(name));
if (named.length === 0 && !runTests({})) failed.push("the tests");
if (failed.length > 0) {
  console.error(`Failed: ${failed.join(", ")}.`);
  process.exitCode = 1;
}
