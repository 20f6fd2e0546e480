// Makes sure that the tests have a real nats-server: on the PATH, or else from the system's packages, or else as a container image.
// Otherwise prints what to install.
import { spawnSync } from "node:child_process";

const succeeds = (command, args) => spawnSync(command, args, { stdio: "ignore" }).status === 0;
const run = (command, args) =>
  spawnSync(command, args, {
    stdio: ["ignore", "inherit", "inherit"],
    env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" },
  }).status === 0;

function ensureNatsServer() {
  if (succeeds("nats-server", ["--version"])) return true;
  if (succeeds("apt-get", ["--version"]) && process.getuid?.() === 0) {
    console.log("nats-server is not on the PATH: installing Debian's package");
    const installed =
      run("apt-get", ["install", "-y", "-q", "nats-server"]) ||
      (run("apt-get", ["update", "-q"]) && run("apt-get", ["install", "-y", "-q", "nats-server"]));
    if (installed && succeeds("nats-server", ["--version"])) return true;
  }
  // packages/node/testing/nats-server.ts runs this image if there is no binary.
  return succeeds("docker", ["info"]) && run("docker", ["pull", "nats:2"]);
}

if (!ensureNatsServer()) {
  console.error(
    "The tests need nats-server 2.9 or later: install it (Debian: apt-get install nats-server) so that it is on the PATH.",
  );
  process.exit(1);
}

// S3 is the other service that the tests need.
const s3 = process.env.CAIRN_TEST_S3_ENDPOINT;
console.log(
  `S3 tests use ${s3 || "the small service of localstack/; pnpm test:s3 radosgw swift runs them against real ones"}.`,
);
