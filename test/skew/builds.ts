import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { CAIRN, ROOT } from "../support/cairn-process.ts";

/** The file that is written last. A build without it is incomplete. */
const BUILT = ".built-for-skew";

/** A version of Cairn. */
export interface Build {
  readonly name: "new" | "other" | "first";
  /** The cairn command. */
  readonly program: string;
}

/** The build of this checkout. */
export const NEW: Build = { name: "new", program: CAIRN };

/** Returns the build in another checkout. Throws if it has not been built. */
export function givenBuild(name: Build["name"], checkout: string): Build {
  const relative = path.relative(ROOT, CAIRN);
  const program = path.resolve(checkout, relative);
  if (!existsSync(program)) {
    throw new Error(
      `${checkout} is no built checkout of Cairn: ${relative} is missing. Run \`npx -y pnpm@12 run build\` there.`,
    );
  }
  return { name, program };
}

/** Builds a commit of this repository, unless an earlier run did. Builds are kept in the system's temporary folder. */
export async function buildOf(name: Build["name"], commit: string): Promise<Build> {
  requireCommit(name, commit);
  const folder = path.join(tmpdir(), `cairn-build-${commit}`);
  if (!existsSync(path.join(folder, BUILT))) {
    process.stdout.write(`building ${commit} in ${folder}\n`);
    await rm(folder, { recursive: true, force: true });
    run("git", ["clone", "--quiet", "--no-checkout", ROOT, folder], ROOT);
    run("git", ["checkout", "--quiet", "--detach", commit], folder);
    // `run` installs the dependencies by itself.
    run("npx", ["-y", "pnpm@12", "run", "build"], folder);
    await writeFile(path.join(folder, BUILT), "");
  }
  return givenBuild(name, folder);
}

function requireCommit(name: string, commit: string): void {
  const found = spawnSync("git", ["cat-file", "-e", `${commit}^{commit}`], { cwd: ROOT, stdio: "ignore" });
  if (found.status === 0) return;
  throw new Error(
    `Commit ${commit} is not in the history of this checkout (a shallow clone, or files without a repository). ` +
      `Fetch it (git fetch --unshallow), or name a built checkout of that version: --${name} PATH.`,
  );
}

function run(command: string, args: readonly string[], cwd: string): void {
  const { status, error, stdout, stderr } = spawnSync(command, args, { cwd, encoding: "utf8" });
  if (error !== undefined) throw error;
  if (status !== 0) throw new Error(`${command} ${args.join(" ")} in ${cwd}:\n${stdout}${stderr}`);
}
