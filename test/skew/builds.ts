import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));
const PROGRAM = "packages/node/dist/bundle/cli/main.js";
/** Written last: without it a build was cut short. */
const BUILT = ".built-for-skew";

/** A version of Cairn that nodes and commands are run with. */
export interface Build {
  readonly name: "new" | "other" | "first";
  /** The cairn command. */
  readonly program: string;
}

/** The build that this program belongs to. */
export const NEW: Build = { name: "new", program: path.join(ROOT, PROGRAM) };

/** A checkout that was built already. */
export function givenBuild(name: Build["name"], checkout: string): Build {
  const program = path.resolve(checkout, PROGRAM);
  if (!existsSync(program)) {
    throw new Error(
      `${checkout} is no built checkout of Cairn: ${PROGRAM} is missing. Run \`npx -y pnpm@12 run build\` there.`,
    );
  }
  return { name, program };
}

/** The build of a commit of this repository's own history; made once, and kept in the system's folder for temporary files. */
export async function buildOf(name: Build["name"], commit: string): Promise<Build> {
  requireCommit(name, commit);
  const folder = path.join(tmpdir(), `cairn-build-${commit}`);
  if (!existsSync(path.join(folder, BUILT))) {
    process.stdout.write(`building ${commit} in ${folder}\n`);
    await rm(folder, { recursive: true, force: true });
    run("git", ["clone", "--quiet", "--no-checkout", ROOT, folder], ROOT);
    run("git", ["checkout", "--quiet", "--detach", commit], folder);
    // Installs by itself where nothing is installed.
    run("npx", ["-y", "pnpm@12", "run", "build"], folder);
    await writeFile(path.join(folder, BUILT), "");
  }
  return givenBuild(name, folder);
}

function requireCommit(name: string, commit: string): void {
  const found = spawnSync("git", ["cat-file", "-e", `${commit}^{commit}`], { cwd: ROOT, stdio: "ignore" });
  if (found.status === 0) return;
  throw new Error(
    `Commit ${commit} is not in the history that lies here (a shallow clone, or files without one). ` +
      `Fetch it (git fetch --unshallow), or name a built checkout of that version: --${name} PATH.`,
  );
}

function run(command: string, args: readonly string[], cwd: string): void {
  const { status, error, stdout, stderr } = spawnSync(command, args, { cwd, encoding: "utf8" });
  if (error !== undefined) throw error;
  if (status !== 0) throw new Error(`${command} ${args.join(" ")} in ${cwd}:\n${stdout}${stderr}`);
}
