import { availableParallelism } from "node:os";
import { defineConfig } from "vitest/config";

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
    // Where nobody can look at a machine that stood still, a test gets a second try, and the runner tells of it.
    retry: process.env["CI"] === "true" ? 1 : 0,
    expect: { poll: { timeout: 60_000 } },
    setupFiles: ["./test/support/patient-waits.ts"],
    reporters: ["default"],
  },
});
