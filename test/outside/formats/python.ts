import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { ROOT } from "../../support/cairn-process.ts";

const SCRIPTS = join(ROOT, "test/outside/formats");
const VENV = join(ROOT, "node_modules/.cache/formats");
/** Implementations of LevelDB, NATS and CRC-32C by others. */
const PACKAGES = ["plyvel==1.5.1", "nats-py==2.16.0", "crc32c==2.9.post0"];

/** Creates the judge's virtual environment and returns the version of Python. Throws with what the machine lacks. */
export async function preparePython(): Promise<string> {
  const python = join(VENV, "bin/python");
  const imports = "import plyvel, nats, crc32c, sys; print(sys.version.split()[0])";
  if (!existsSync(python) || spawnSync(python, ["-c", imports]).status !== 0) {
    await rm(VENV, { recursive: true, force: true });
    await mkdir(VENV, { recursive: true });
    runOrThrow("python3", ["-m", "venv", VENV], "This needs Python 3 with venv (Debian: python3-venv)");
    runOrThrow(
      join(VENV, "bin/pip"),
      ["install", "--quiet", ...PACKAGES],
      "pip could not install what this needs (without a wheel of plyvel, it needs Debian's libleveldb-dev and g++)",
    );
  }
  return runOrThrow(python, ["-c", imports], "The judge's Python does not start").trim();
}

function runOrThrow(program: string, args: readonly string[], message: string): string {
  const run = spawnSync(program, args, { encoding: "utf8" });
  if (run.error === undefined && run.status === 0) return run.stdout;
  throw new Error(`${message}: ${run.error?.message ?? `${run.stdout}${run.stderr}`}`);
}

/** Runs a script of this folder with a task. Returns its output, and whether it exited with 0. */
export async function runPython(
  script: string,
  task: object,
): Promise<{ output: string; succeeded: boolean }> {
  const args = ["-B", join(SCRIPTS, script), JSON.stringify(task)];
  const child = spawn(join(VENV, "bin/python"), args, { stdio: ["ignore", "pipe", "inherit"] });
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (output += text));
  const [code] = (await once(child, "close")) as [number | null];
  return { output: output.trimEnd(), succeeded: code === 0 };
}
