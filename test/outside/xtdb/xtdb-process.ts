import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { copyFile, mkdir } from "node:fs/promises";
import { join } from "node:path";
import { ROOT } from "@cairn/test-support/cairn-process";

const EXAMPLE = join(ROOT, "examples", "from-xtdb");
const CACHE = join(ROOT, "test", "node_modules", ".cache", "xtdb");
/** The exporter of the example. */
export const EXPORTER = join(EXAMPLE, "export.clj");

/** Fetches the libraries of the example. Throws an error that names what the machine lacks. */
export async function fetchXtdb(): Promise<void> {
  for (const tool of ["java", "mvn"]) {
    if (spawnSync(tool, ["-version"]).error !== undefined)
      throw new Error(`This needs Java and Maven, and there is no "${tool}".`);
  }
  await mkdir(CACHE, { recursive: true });
  await copyFile(join(EXAMPLE, "pom.xml"), join(CACHE, "pom.xml"));
  const goal = ["-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=lib"];
  const fetched = spawnSync("mvn", goal, { cwd: CACHE, encoding: "utf8" });
  if (fetched.status !== 0) throw new Error(`Maven did not fetch XTDB:\n${fetched.stdout}${fetched.stderr}`);
}

/** Starts a Clojure program with XTDB on its class path. */
export function startXtdb(program: string, args: readonly string[]): ChildProcess {
  // XTDB reads documents recursively, and those of the judge have up to 501 nested lists and maps.
  const command = ["-Xss16m", "-cp", join(CACHE, "lib", "*"), "clojure.main", program, ...args];
  return spawn("java", command, { stdio: ["ignore", "ignore", "inherit"] });
}

/** Runs a Clojure program with XTDB on its class path, and throws unless it exits with the given code. */
export async function runXtdb(program: string, args: readonly string[], expected = 0): Promise<void> {
  const [code] = (await once(startXtdb(program, args), "exit")) as [number | null];
  if (code !== expected) throw new Error(`${program} exited with code ${code}, not ${expected}.`);
}
