import { pipeline } from "node:stream/promises";
import { COMMIT_FORMAT, DiffTreeParser } from "./diff-tree-parser.ts";
import { type GitProcess, startGit } from "./git-process.ts";
import { HistoryError } from "./history-error.ts";
import { repositoryName, resolveCommit } from "./repository.ts";
import { type CommitPlace, MAX_TRANSACTION_BYTES, TransactionWriter } from "./transaction-writer.ts";

/** Which history to read. */
export interface HistoryOptions {
  /** A directory in the repository, bare or not. */
  readonly directory: string;
  /** The last commit: a branch, a tag, an object id. `HEAD` by default. */
  readonly ref?: string;
  /** The namespace of all keys. By default the name of the repository's directory. */
  readonly name?: string;
  /** At most so many commits. */
  readonly limit?: number;
  /** Begin after this commit, which must be on the first-parent history of `ref`. */
  readonly sinceCommit?: string;
  /** The size to which transactions are filled. Default: {@link MAX_TRANSACTION_BYTES}. */
  readonly maxTransactionBytes?: number;
}

// Plumbing, because it heeds no log.* or diff.* setting of the user; what it does heed is switched off.
const DIFF_TREE = [
  "diff-tree",
  "--stdin",
  "-r",
  "-z",
  "--root",
  "--always",
  "--raw",
  "--no-renames",
  "--no-abbrev",
  "--no-relative",
  "--ignore-submodules=none",
  "--encoding=UTF-8",
  "--date=raw",
  `--format=${COMMIT_FORMAT}`,
];

/**
 * The first-parent history of a repository, oldest commit first, each line a transaction as `cairn load` takes it.
 * Nothing is read ahead of the caller but what pipes hold. Errors: {@link HistoryError}.
 */
export async function* historyLines(options: HistoryOptions): AsyncGenerator<string, void, undefined> {
  const { directory } = options;
  const tip = await resolveCommit(directory, options.ref ?? "HEAD");
  const since =
    options.sinceCommit === undefined ? undefined : await resolveCommit(directory, options.sinceCommit);
  const name = await repositoryName(directory, options.name);

  // What has been asked of diff-tree and not been answered: bounded by what the pipes hold.
  const underway: CommitPlace[] = [];
  const lines: string[] = [];
  const writer = new TransactionWriter({
    name,
    maxBytes: options.maxTransactionBytes ?? MAX_TRANSACTION_BYTES,
    place: (oid) => nextPlace(underway, oid),
    emit: (line) => lines.push(line),
  });
  const parser = new DiffTreeParser(writer);

  const list = startGit(directory, ["rev-list", "--first-parent", "--reverse", "--parents", tip, "--"]);
  const diff = startGit(directory, DIFF_TREE);
  list.stdin.end();
  const asked = pipeline(() => questions(list, { since, limit: options.limit, underway }), diff.stdin);
  // Looked at below, after git's own account of what went wrong.
  asked.catch(() => undefined);
  try {
    for await (const chunk of diff.stdout) {
      parser.push(chunk as Buffer);
      yield* lines;
      lines.length = 0;
    }
    await settle([diff.finished, list.finished, asked]);
    parser.end();
    writer.end();
    yield* lines;
  } finally {
    list.stop();
    diff.stop();
  }
}

/**
 * A line for diff-tree for each commit: the commit, and the one parent it shall be compared with. A merge is thereby
 * compared with its first parent alone; a commit without parents is compared with nothing.
 */
async function* questions(
  list: GitProcess,
  options: { since: string | undefined; limit: number | undefined; underway: CommitPlace[] },
): AsyncGenerator<string, void, undefined> {
  const { since, limit = Number.POSITIVE_INFINITY, underway } = options;
  let number = 0;
  let sent = 0;
  let begun = since === undefined;
  let rest = "";
  for await (const chunk of list.stdout) {
    const lines = (rest + (chunk as Buffer).toString("latin1")).split("\n");
    rest = lines.pop() ?? "";
    let asked = "";
    for (const line of lines) {
      const [oid = "", ...parents] = line.split(" ");
      number += 1;
      // Beyond the limit the list is still read to its end, so that git ends by itself.
      if (begun && sent < limit) {
        sent += 1;
        underway.push({ oid, number, parents });
        asked += parents[0] === undefined ? `${oid}\n` : `${oid} ${parents[0]}\n`;
      }
      if (oid === since) begun = true;
    }
    if (asked !== "") yield asked;
  }
  if (!begun) {
    throw new HistoryError(`The commit ${since} is not on the first-parent history that was asked for.`, {
      hint: "Continue from a commit that git log --first-parent lists, or load it all under another --name.",
    });
  }
}

function nextPlace(underway: CommitPlace[], oid: string): CommitPlace {
  const place = underway.shift();
  if (place?.oid !== oid) {
    throw new HistoryError(
      `git diff-tree answered for commit ${oid} where ${place?.oid ?? "none"} was expected.`,
    );
  }
  return place;
}

/** The first failure in the order given: when git dies, the pipes to it break too, which explains nothing. */
async function settle(parts: readonly Promise<void>[]): Promise<void> {
  for (const outcome of await Promise.allSettled(parts)) {
    if (outcome.status === "rejected") throw outcome.reason;
  }
}
