// Runs the S3 tests against real servers: node scripts/test-s3.mjs [radosgw|swift|minio|versitygw|localstack|moto]... [arguments of vitest]
// Without a name, runs them against the service in CAIRN_TEST_S3_ENDPOINT, or else the small service of localstack/.
import { spawnSync } from "node:child_process";

/** The script of each server and the arguments that stop it. Data that takes a long time to create is kept. */
const SERVERS = {
  radosgw: ["localstack/radosgw.sh", "down"],
  swift: ["localstack/swift.sh", "down"],
  minio: ["localstack/fetched/minio.sh", "down", "--wipe"],
  versitygw: ["localstack/fetched/versitygw.sh", "down", "--wipe"],
  localstack: ["localstack/fetched/localstack.sh", "down", "--wipe"],
  moto: ["localstack/fetched/moto.sh", "down", "--wipe"],
};
const TESTS = [
  "packages/checkpoint-s3/test/s3-service.test.ts",
  "packages/checkpoint-s3/test/s3-refusals.test.ts",
  "packages/checkpoint-s3/test/s3-faults.test.ts",
  "packages/checkpoint-s3/test/s3-broken-line.test.ts",
  "packages/checkpoint-s3/test/s3-kill.test.ts",
  "test/s3-cluster.test.ts",
];

const args = process.argv.slice(2).filter((arg) => arg !== "--");
const named = Object.keys(SERVERS).filter((name) => args.includes(name));
const rest = args.filter((arg) => !Object.hasOwn(SERVERS, arg));
// Ctrl-C reaches the tests too; their server is stopped after them.
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => undefined);

/** Returns the variables that a server's script prints for a shell. */
function variablesOf(output) {
  const lines = output.matchAll(/^export (\w+)='?([^'\n]*)'?$/gm);
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
  const [script, ...down] = SERVERS[name];
  const { status, stdout } = spawnSync("bash", [script, "up"], {
    stdio: ["ignore", "pipe", "inherit"],
    encoding: "utf8",
  });
  try {
    return status === 0 && runTests(variablesOf(stdout));
  } finally {
    spawnSync("bash", [script, ...down], { stdio: "inherit" });
  }
}

const failed = named.filter((name) => !testOn(name));
if (named.length === 0 && !runTests({})) failed.push("the tests");
if (failed.length > 0) {
  console.error(`Failed: ${failed.join(", ")}.`);
  process.exitCode = 1;
}
