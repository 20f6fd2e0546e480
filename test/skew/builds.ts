import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { cp, mkdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import path from "node:path";
import { CAIRN, ROOT } from "@cairn/test-support/cairn-process";

/** A version of Cairn. */
export interface Build {
  readonly name: "new" | "other";
  /** The cairn command. */
  readonly program: string;
}

/** The build of this checkout. */
export const NEW: Build = { name: "new", program: CAIRN };

/** Returns the build in another checkout. Throws if it has not been built. */
export function givenBuild(checkout: string): Build {
  const relative = path.relative(ROOT, CAIRN);
  const program = path.resolve(checkout, relative);
  if (!existsSync(program)) {
    throw new Error(
      `${checkout} is no built checkout of Cairn: ${relative} is missing. Run \`npx -y pnpm@12 run build\` there.`,
    );
  }
  return { name: "other", program };
}

const INDEX_STATE = "packages/engine/src/index/rows/index-state.ts";
const VERSION_LINE = /(?<=^export const INDEX_VERSION = )\d+(?=;$)/m;

/** Builds this checkout with the next index version, which the bundles contain in many places, from a copy of the sources. */
export async function buildWithNextVersion(): Promise<Build> {
  const folder = path.join(ROOT, "dist/skew");
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  await symlink(path.join(ROOT, "node_modules"), path.join(folder, "node_modules"));
  for (const copied of ["package.json", "tsconfig.base.json", "scripts", "packages"]) {
    await cp(path.join(ROOT, copied), path.join(folder, copied), {
      recursive: true,
      // The packages find one another through links that are relative.
      verbatimSymlinks: true,
      filter: (file) => !/\/packages\/[\w-]+\/(?:dist|test)$/.test(file),
    });
  }
  const source = path.join(folder, INDEX_STATE);
  const text = await readFile(source, "utf8");
  const changed = text.replace(VERSION_LINE, (version) => String(Number(version) + 1));
  if (changed === text) throw new Error(`${INDEX_STATE} does not declare INDEX_VERSION.`);
  await writeFile(source, changed);
  const bundle = ["scripts/bundle.mjs"];
  const { status, stderr } = spawnSync(process.execPath, bundle, { cwd: folder, encoding: "utf8" });
  if (status !== 0) throw new Error(`node ${bundle.join(" ")} in ${folder}:\n${stderr}`);
  return givenBuild(folder);
}
