import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, readdir } from "node:fs/promises";
import { join } from "node:path";
import { ROOT } from "@cairn/test-support/cairn-process";

const CACHE = join(ROOT, "node_modules/.cache/debian");

/** A program to start, with the environment that it needs. */
export interface DebianProgram {
  readonly path: string;
  readonly env: NodeJS.ProcessEnv;
}

/** Returns an installed program, or else one unpacked from Debian's packages. Throws if they cannot be fetched. */
export async function debianProgram(name: string, packages: readonly string[]): Promise<DebianProgram> {
  const installed = spawnSync("sh", ["-c", `command -v ${name}`], { encoding: "utf8" }).stdout.trim();
  if (installed !== "") return { path: installed, env: process.env };
  const folder = join(CACHE, name);
  const unpacked = (): string | undefined =>
    ["sbin", "bin"].map((bin) => join(folder, "root/usr", bin, name)).find((path) => existsSync(path));
  if (unpacked() === undefined) {
    await mkdir(folder, { recursive: true });
    const fetched = spawnSync("apt-get", ["download", ...packages], { cwd: folder, encoding: "utf8" });
    if (fetched.error !== undefined || fetched.status !== 0)
      throw new Error(`This needs ${name}, and Debian's packages could not be fetched: ${fetched.stderr}`);
    for (const file of await readdir(folder)) {
      if (file.endsWith(".deb")) spawnSync("dpkg", ["-x", file, "root"], { cwd: folder });
    }
  }
  const path = unpacked();
  if (path === undefined)
    throw new Error(`This needs ${name}, which ${packages.join(", ")} did not contain.`);
  const libraries = spawnSync("find", [join(folder, "root"), "-name", "*.so*", "-printf", "%h:"], {
    encoding: "utf8",
  }).stdout;
  const seen = [...new Set(libraries.split(":"))].filter((one) => one !== "");
  return { path, env: { ...process.env, LD_LIBRARY_PATH: seen.join(":") } };
}
