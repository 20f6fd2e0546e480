import { mkdir } from "node:fs/promises";
import { pipeline } from "node:stream/promises";
import { askGit, startGit } from "./git-process.ts";
import { type ScriptOptions, repositoryScript } from "./repository-script.ts";

/** Describes a repository to create. The same plan results in the same commits, with the same object ids. */
export interface RepositoryPlan {
  /** The repository's directory, which is created if necessary. */
  readonly directory: string;
  /** The length of the first-parent history. */
  readonly commits: number;
  /** The seed. Defaults to 1. */
  readonly seed?: number;
  /** The number of files in the first commit. Defaults to 50. */
  readonly files?: number;
  readonly objectFormat?: "sha1" | "sha256";
  readonly branch?: string;
}

/** A bare repository created by {@link makeRepository}. */
export interface MadeRepository {
  readonly directory: string;
  readonly branch: string;
  /** The id of the last commit. */
  readonly head: string;
}

const CHUNK_BYTES = 64 * 1024;

/**
 * Creates a bare repository with everything that a reader of histories must handle: renames, deletions, changes of mode
 * and type, symbolic links, submodules, empty commits, merges of several parents, directories that become files and
 * back, and paths of arbitrary bytes and lengths. Thousands of commits take seconds.
 */
export async function makeRepository(plan: RepositoryPlan): Promise<MadeRepository> {
  const { directory, commits, seed = 1, files = 50, objectFormat = "sha1", branch = "main" } = plan;
  await mkdir(directory, { recursive: true });
  const format = objectFormat === "sha1" ? [] : [`--object-format=${objectFormat}`];
  // Without templates, the machine's hooks and settings do not affect the repository.
  await askGit(directory, ["init", "--quiet", "--bare", "--template=", ...format]);
  await askGit(directory, ["symbolic-ref", "HEAD", `refs/heads/${branch}`]);
  const git = startGit(directory, ["fast-import", "--quiet", "--done"]);
  git.stdout.resume();
  const oidLength = objectFormat === "sha1" ? 40 : 64;
  const written = pipeline(() => chunks({ commits, seed, files, branch, oidLength }), git.stdin);
  // If git fails, its own error explains more than the error of the broken pipe.
  written.catch(() => undefined);
  await git.finished;
  await written;
  return {
    directory,
    branch,
    head: await askGit(directory, ["rev-parse", "--verify", `refs/heads/${branch}`]),
  };
}

function* chunks(options: ScriptOptions): Generator<Buffer, void, undefined> {
  let text = "";
  for (const part of repositoryScript(options)) {
    text += part;
    if (text.length < CHUNK_BYTES) continue;
    yield Buffer.from(text, "latin1");
    text = "";
  }
  yield Buffer.from(text, "latin1");
}
