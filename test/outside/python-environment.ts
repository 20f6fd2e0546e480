import { spawnSync } from "node:child_process";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { ROOT } from "@cairn/test-support/cairn-process";

const FOLDER = join(ROOT, "node_modules/.cache/python");

/**
 * Creates a virtual environment with these packages, unless an earlier run did, and returns its bin folder. Throws an
 * error that names what is missing on the machine; `hint` explains what pip may need.
 */
export async function pythonEnvironment(
  name: string,
  packages: readonly string[],
  hint = "",
): Promise<string> {
  const venv = join(FOLDER, name);
  const bin = join(venv, "bin");
  // Written last; an environment without it is incomplete.
  const record = join(venv, "packages");
  const installed = await readFile(record, "utf8").catch(() => "");
  const python = join(bin, "python");
  if (installed === packages.join("\n") && spawnSync(python, ["-c", ""]).status === 0) return bin;
  await rm(venv, { recursive: true, force: true });
  await mkdir(FOLDER, { recursive: true });
  const version = "import venv, ensurepip, sys; sys.exit(sys.version_info < (3, 10))";
  runOrThrow("python3", ["-c", version], "This needs Python 3.10 or later with venv (Debian: python3-venv)");
  runOrThrow("python3", ["-m", "venv", venv], "The virtual environment could not be created");
  runOrThrow(
    join(bin, "pip"),
    ["install", "--quiet", ...packages],
    `pip could not install what this needs${hint}`,
  );
  await writeFile(record, packages.join("\n"));
  return bin;
}

function runOrThrow(program: string, args: readonly string[], message: string): void {
  const { error, status, stdout, stderr } = spawnSync(program, args, { encoding: "utf8" });
  if (error !== undefined) throw new Error(`${message}: ${error.message}`);
  if (status !== 0) throw new Error(`${message}: ${stdout}${stderr}`);
}
