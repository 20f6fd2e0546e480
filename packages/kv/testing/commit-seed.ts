import { execFileSync } from "node:child_process";

/**
 * Returns the seed of the short campaigns, which run with every `pnpm test`: the variable `CAIRN_TEST_SEED` or, without
 * it, a number that changes with each commit of the repository, so that commit after commit tries other seeds.
 */
export function commitSeed(): number {
  const given = process.env["CAIRN_TEST_SEED"];
  if (given === undefined) return 1 + Number.parseInt(currentCommit().slice(0, 5), 16);
  if (!/^\d{1,9}$/.test(given))
    throw new Error(`CAIRN_TEST_SEED=${given}: the value must be a whole number.`);
  return Number(given);
}

/** Returns the name of the current commit; zeros outside of a repository. */
function currentCommit(): string {
  try {
    return execFileSync("git", ["rev-parse", "HEAD"], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    });
  } catch {
    return "0".repeat(40);
  }
}
