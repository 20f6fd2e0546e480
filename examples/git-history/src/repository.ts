import { basename, resolve } from "node:path";
import { askGit } from "./git-process.ts";
import { HistoryError } from "./history-error.ts";

const MAX_NAMESPACE_BYTES = 253;

/** Returns the object id of the commit that `revision` names (a branch, a tag, an abbreviated id, `HEAD~3`, …). */
export async function resolveCommit(directory: string, revision: string): Promise<string> {
  // The repository is checked first, so that a missing one is not reported as a missing revision.
  await askGit(directory, ["rev-parse", "--git-dir"]);
  const unknown = new HistoryError(
    `${revision} names no commit in the repository at ${resolve(directory)}.`,
    {
      hint: "List its branches and tags with git for-each-ref, and check that it has any commits.",
    },
  );
  // No ref begins with a dash, which git would parse as an option.
  if (revision === "" || revision.startsWith("-")) throw unknown;
  const answer = await askGit(directory, ["rev-parse", "--verify", `${revision}^{commit}`]).catch(
    (cause: unknown) => {
      unknown.cause = cause;
      throw unknown;
    },
  );
  return answer;
}

/** Returns the namespace of a repository: `wanted`, or else the name of its directory. */
export async function repositoryName(directory: string, wanted?: string): Promise<string> {
  const name = wanted ?? (await directoryName(directory));
  if (name === "" || name.includes("/") || Buffer.byteLength(name) > MAX_NAMESPACE_BYTES) {
    throw new HistoryError(
      `"${name}" cannot be a namespace: it must have 1 to ${MAX_NAMESPACE_BYTES} bytes and no "/".`,
      { hint: "Give the repository a name with --name." },
    );
  }
  return name;
}

async function directoryName(directory: string): Promise<string> {
  const inside = await askGit(directory, ["rev-parse", "--is-inside-work-tree"]);
  if (inside === "true") return basename(await askGit(directory, ["rev-parse", "--show-toplevel"]));
  const gitDirectory = await askGit(directory, ["rev-parse", "--absolute-git-dir"]);
  return basename(gitDirectory.replace(/\/\.git$/, "")).replace(/\.git$/, "");
}
