// Makes sure that the tests have the real servers and programs that they need: on the PATH, or else from the system's packages. For nats-server, a
// container image will do, too. Otherwise prints what to install.
import { spawnSync } from "node:child_process";

const succeeds = (command, args) => spawnSync(command, args, { stdio: "ignore" }).status === 0;
const run = (command, args) =>
  spawnSync(command, args, {
    stdio: ["ignore", "inherit", "inherit"],
    env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" },
  }).status === 0;

/** The programs, each with the Debian package that contains it. */
const PROGRAMS = [
  { program: "nats-server", needed: "nats-server 2.9 or later", image: "nats:2" },
  { program: "etcd", needed: "etcd 3.4 or later", debian: "etcd-server" },
  { program: "redis-server", needed: "redis-server 6 or later" },
  { program: "chromium", needed: "Chromium" },
  { program: "age", needed: "age 1.0 or later" },
];

const canInstall = succeeds("apt-get", ["--version"]) && process.getuid?.() === 0;

function ensure({ program, debian = program, image }) {
  if (succeeds(program, ["--version"])) return true;
  if (canInstall) {
    console.log(`${program} is not on the PATH: installing Debian's package ${debian}`);
    const install = ["install", "-y", "-q", debian];
    const installed =
      run("apt-get", install) || (run("apt-get", ["update", "-q"]) && run("apt-get", install));
    if (installed && succeeds(program, ["--version"])) return true;
  }
  // packages/node/testing/nats-server.ts runs this image if there is no binary.
  return image !== undefined && succeeds("docker", ["info"]) && run("docker", ["pull", image]);
}

const missing = PROGRAMS.filter((server) => !ensure(server));
for (const { program, needed, debian = program } of missing) {
  console.error(
    `The tests need ${needed}: install it (Debian: apt-get install ${debian}) so that it is on the PATH.`,
  );
}
if (missing.length > 0) process.exit(1);

// S3 is the other service that the tests need.
const s3 = process.env.CAIRN_TEST_S3_ENDPOINT;
console.log(
  `S3 tests use ${s3 || "the small service of localstack/; pnpm test:s3 radosgw swift runs them against real ones"}.`,
);
