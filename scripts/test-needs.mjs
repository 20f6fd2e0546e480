// What tests need beyond Node, in one place. A test that needs one of these has its tag (`// @module-tag nats` for a
// whole file), and is skipped in sight on a machine without it.
import { spawnSync } from "node:child_process";
import { delimiter } from "node:path";

/** The folder in which Debian puts servers, which is not on the PATH of every user. */
const SERVERS = "/usr/sbin";

function program(tag, name, needed, debian = name) {
  const env = { ...process.env, PATH: [process.env.PATH, SERVERS].join(delimiter) };
  const isThere = () => spawnSync(name, ["--version"], { stdio: "ignore", env }).status === 0;
  return { tag, needed, debian, isThere, remedy: `Debian: apt-get install ${debian}` };
}

/** Each with the tag of the tests that need it, and how to get it. Programs are in Debian's packages. */
export const NEEDS = [
  program("nats", "nats-server", "nats-server 2.9 or later"),
  program("rest/etcd", "etcd", "etcd 3.4 or later", "etcd-server"),
  program("rest/redis", "redis-server", "redis-server 6 or later"),
  program("rest/browser", "chromium", "Chromium"),
  program("rest/age", "age", "age 1.0 or later"),
  {
    tag: "rest/root",
    needed: "root on Linux",
    isThere: () => process.platform === "linux" && process.getuid?.() === 0,
    remedy: "run the tests as root",
  },
];
