import { availableParallelism } from "node:os";
import { defineConfig } from "vitest/config";
import { NEEDS } from "./scripts/test-needs.mjs";
import { TierReporter } from "./scripts/test-reporter.mjs";

const isCi = process.env["CI"] === "true";
const missing = process.env["CAIRN_REQUIRE_SERVERS"] === "1" ? [] : NEEDS.filter((need) => !need.isThere());

// Tests import the packages' sources (export condition "cairn-source"), so that a package and its
// dependants share one copy of each class; processes that tests start run the build in dist/.
export default defineConfig({
  resolve: { conditions: ["cairn-source"] },
  ssr: { resolve: { conditions: ["cairn-source"] } },
  test: {
    include: ["packages/*/test/**/*.test.ts", "test/**/*.test.ts", "examples/*/test/**/*.test.ts"],
    exclude: ["**/node_modules/**", "**/dist/**"],
    // Tests wait for disks, servers and processes as much as they compute: with two workers, two cores are idle for a
    // quarter of the time. All share one disk.
    maxWorkers: Math.min(4, availableParallelism() + 2),
    // A worker runs one file after the other with the modules that it has loaded and compiled. With a new process for
    // each file, 48 of them took 145 s of processor time instead of 112 s. A test therefore restores what it changes
    // in its process.
    isolate: false,
    // Limits end what hangs. None may be near what a busy machine with a slow disk needs, which is many times what an
    // idle one does.
    testTimeout: 180_000,
    hookTimeout: 180_000,
    expect: { poll: { timeout: 60_000 } },
    setupFiles: ["./test/support/vitest-defaults.ts"],
    reporters: [new TierReporter(missing)],
    // The tags are described in docs/internals/testing.md: `pnpm test` runs what has no tag `rest/…`, and
    // `pnpm run test:rest` what has one.
    tags: [
      { name: "rest/slow", description: "takes long by itself" },
      { name: "rest/campaign", description: "runs a campaign of many rounds or kills" },
      { name: "rest/packaging", description: "installs packages" },
      ...NEEDS.map((need) => ({
        name: need.tag,
        description: `needs ${need.needed}`,
        skip: missing.includes(need),
      })),
      // Where nobody can look at a machine that stood still, a test of the second tier gets a second try, and the
      // runner tells of it.
    ].map((tag) => (tag.name.startsWith("rest/") && isCi ? { ...tag, retry: 1 } : tag)),
  },
});
