// Makes sure that the tests have a real nats-server: on the PATH, else from the system's packages, else as a container
// image that test/support starts; else one sentence says what to install.
import { spawnSync } from "node:child_process";

const answers = (command, args) => spawnSync(command, args, { stdio: "ignore" }).status === 0;
const run = (command, args) =>
  spawnSync(command, args, {
    stdio: ["ignore", "inherit", "inherit"],
    env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" },
  }).status === 0;

function ensureNatsServer() {
  if (answers("nats-server", ["--version"])) return true;
  if (answers("apt-get", ["--version"]) && process.getuid?.() === 0) {
    console.log("nats-server is not on the PATH: installing Debian's package");
    const installed =
      run("apt-get", ["install", "-y", "-q", "nats-server"]) ||
      (run("apt-get", ["update", "-q"]) && run("apt-get", ["install", "-y", "-q", "nats-server"]));
    if (installed && answers("nats-server", ["--version"])) return true;
  }
  // test/support/nats-server.ts runs this image when there is no binary.
  return answers("docker", ["info"]) && run("docker", ["pull", "nats:2"]);
}

if (!ensureNatsServer()) {
  console.error(
    "The tests need nats-server 2.9 or later: install it (Debian: apt-get install nats-server) so that it is on the PATH.",
  );
  process.exit(1);
}

// The other service that tests need; said here, so that nobody has to guess which one a run was about.
const s3 = process.env.CAIRN_TEST_S3_ENDPOINT;
console.log(
  `S3 tests use ${s3 || "the small service of localstack/; pnpm test:s3 radosgw swift runs them against real ones"}.`,
);
