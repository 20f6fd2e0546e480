import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../../../../", import.meta.url));
const SCRIPTS = join(ROOT, "test/outside/formats");
const VENV = join(ROOT, "node_modules/.cache/formats");
/** LevelDB, NATS and CRC-32C, of others. */
const PACKAGES = ["plyvel==1.5.1", "nats-py==2.16.0", "crc32c==2.9.post0"];

/** Makes a Python of the judge's own, with what it needs; says what the machine lacks. Answers its version. */
export async function preparePython(): Promise<string> {
  const python = join(VENV, "bin/python");
  const imports = "import plyvel, nats, crc32c, sys; print(sys.version.split()[0])";
  if (!existsSync(python) || spawnSync(python, ["-c", imports]).status !== 0) {
    await rm(VENV, { recursive: true, force: true });
    await mkdir(VENV, { recursive: true });
    must("python3", ["-m", "venv", VENV], "This needs Python 3 with venv (Debian: python3-venv)");
    must(
      join(VENV, "bin/pip"),
      ["install", "--quiet", ...PACKAGES],
      "pip did not install what this needs (where there is no wheel of plyvel, it needs Debian's libleveldb-dev and g++)",
    );
  }
  return must(python, ["-c", imports], "The judge's Python does not start").trim();
}

function must(program: string, args: readonly string[], lacking: string): string {
  const run = spawnSync(program, args, { encoding: "utf8" });
  if (run.error === undefined && run.status === 0) return run.stdout;
  throw new Error(`${lacking}: ${run.error?.message ?? `${run.stdout}${run.stderr}`}`);
}

/** Runs a script of this folder on a task; answers what it prints, and whether it ended well. */
export async function runPython(script: string, task: object): Promise<{ output: string; isWell: boolean }> {
  const args = ["-B", join(SCRIPTS, script), JSON.stringify(task)];
  const child = spawn(join(VENV, "bin/python"), args, { stdio: ["ignore", "pipe", "inherit"] });
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (output += text));
  const [code] = (await once(child, "close")) as [number | null];
  return { output: output.trimEnd(), isWell: code === 0 };
}
