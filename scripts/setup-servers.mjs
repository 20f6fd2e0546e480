// Installs the programs that the tests need (scripts/test-needs.mjs) from Debian's packages, if it may:
// node scripts/setup-servers.mjs [TAG]... Says how to get what is missing. Tests that need it are skipped, so that is
// a failure only if CAIRN_REQUIRE_SERVERS is 1.
import { spawnSync } from "node:child_process";
import { NEEDS } from "./test-needs.mjs";

const tags = process.argv.slice(2);
const canInstall = process.getuid?.() === 0 && spawnSync("apt-get", ["--version"]).status === 0;

function apt(...args) {
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  return spawnSync("apt-get", ["-q", ...args], { stdio: ["ignore", "ignore", "inherit"], env }).status === 0;
}

function install({ needed, debian }) {
  if (!canInstall || debian === undefined) return false;
  console.log(`The tests need ${needed}: installing Debian's package ${debian}`);
  return apt("install", "-y", debian) || (apt("update") && apt("install", "-y", debian));
}

const missing = NEEDS.filter(({ tag }) => tags.length === 0 || tags.includes(tag)).filter(
  (need) => !need.isThere() && !(install(need) && need.isThere()),
);
for (const { needed, remedy } of missing)
  console.error(`${needed}: not available here (${remedy}). Tests that need it cannot run.`);
if (missing.length > 0 && process.env.CAIRN_REQUIRE_SERVERS === "1") process.exit(1);
