import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { ROOT } from "@cairn/test-support/cairn-process";
import { pythonEnvironment } from "../python-environment.ts";

const SCRIPTS = join(ROOT, "test/outside/formats");
/** Third-party implementations of LevelDB, NATS and CRC-32C. */
const PACKAGES = ["plyvel==1.5.1", "nats-py==2.16.0", "crc32c==2.9.post0"];
const PIP_NEEDS = " (without a wheel of plyvel, it needs Debian's libleveldb-dev and g++)";

/** The path of the Python interpreter that runs the judge. */
export const PYTHON = join(await pythonEnvironment("formats", PACKAGES, PIP_NEEDS), "python");

/** Runs a script of this folder with a task. Returns its output, and whether it exited with 0. */
export async function runPython(
  script: string,
  task: object,
): Promise<{ output: string; succeeded: boolean }> {
  const args = ["-B", join(SCRIPTS, script), JSON.stringify(task)];
  const child = spawn(PYTHON, args, { stdio: ["ignore", "pipe", "inherit"] });
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (output += text));
  const [code] = (await once(child, "close")) as [number | null];
  return { output: output.trimEnd(), succeeded: code === 0 };
}
