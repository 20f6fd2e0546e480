import { mkdir, writeFile } from "node:fs/promises";
import { pathToFileURL } from "node:url";
import { ThreadModule } from "../../src/concurrency/worker-thread.ts";
import type { TestDirectory } from "./test-directory.ts";

/** The file of {@link threadModule}, in the directory of the test. */
export const MODULE_FILE = "dist/bundle/program.js";

/** Writes a module of threads that run `program`, in which `tell` sends a message to the test. */
export async function threadModule(directory: TestDirectory, program: string): Promise<ThreadModule> {
  const given =
    'const { parentPort, workerData } = require("node:worker_threads");\n' +
    "const tell = (message) => parentPort.postMessage(message);\n";
  await mkdir(directory.path("dist/bundle"), { recursive: true });
  await writeFile(directory.path(MODULE_FILE), given + program);
  return new ThreadModule(pathToFileURL(directory.path("src/room/beside.ts")).href, "program");
}
