import { pipeline } from "node:stream/promises";
import { COMMIT_FORMAT, DiffTreeParser } from "./diff-tree-parser.ts";
import { type GitProcess, startGit } from "./git-process.ts";
import { HistoryError } from "./history-error.ts";
import { repositoryName, resolveCommit } from "./repository.ts";
import { type CommitPlace, MAX_TRANSACTION_BYTES, TransactionWriter } from "./transaction-writer.ts";

/** Options for reading a history. */
export interface HistoryOptions {
  /** A directory in the repository, bare or not. */
  readonly directory: string;
  /** The last commit: a branch, a tag or an object id. Defaults to `HEAD`. */
  readonly ref?: string;
  /** The namespace of all keys. Defaults to the name of the repository's directory. */
  readonly name?: string;
  /** The maximum number of commits; unlimited by default. */
  readonly limit?: number;
  /** The commit after which to begin. It must be in the first-parent history of `ref`. */
  readonly sinceCommit?: string;
  /** The maximum size of a transaction. Defaults to {@link MAX_TRANSACTION_BYTES}. */
  readonly maxTransactionBytes?: number;
}

// A plumbing command is used, because it ignores the user's log.* and diff.* settings. The settings that it does read
// are overridden.
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
 * Yields the first-parent history of a repository, oldest commit first, as lines for `cairn load`, each a transaction. Reads no further
 * ahead of the caller than pipes buffer. Throws a {@link HistoryError}.
 */
export async function* historyLines(options: HistoryOptions): AsyncGenerator<string, void, undefined> {
  const { directory } = options;
  const tip = await resolveCommit(directory, options.ref ?? "HEAD");
  const since =
    options.sinceCommit === undefined ? undefined : await resolveCommit(directory, options.sinceCommit);
  const name = await repositoryName(directory, options.name);

  // The commits that were sent to diff-tree and whose changes have not been read yet. The pipes' buffers bound their
  // number.
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
  const requested = pipeline(() => requests(list, { since, limit: options.limit, underway }), diff.stdin);
  // `settle` throws this error, unless git itself failed.
  requested.catch(() => undefined);
  try {
    for await (const chunk of diff.stdout) {
      parser.push(chunk as Buffer);
      yield* lines;
      lines.length = 0;
    }
    await settle([diff.finished, list.finished, requested]);
    parser.end();
    writer.end();
    yield* lines;
  } finally {
    list.stop();
    diff.stop();
  }
}

/**
 * Yields a line for diff-tree for each commit: the commit and the parent to compare it with, which is only the first
 * one for a merge. A commit without parents is compared with nothing.
 */
async function* requests(
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
    let text = "";
    for (const line of lines) {
      const [oid = "", ...parents] = line.split(" ");
      number += 1;
      // Beyond the limit, the list is read to its end, so that git exits by itself.
      if (begun && sent < limit) {
        sent += 1;
        underway.push({ oid, number, parents });
        text += parents[0] === undefined ? `${oid}\n` : `${oid} ${parents[0]}\n`;
      }
      if (oid === since) begun = true;
    }
    if (text !== "") yield text;
  }
  if (!begun) {
    throw new HistoryError(`The commit ${since} is not on the requested first-parent history.`, {
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

/**
 * Throws the first failure in the given order. When git dies, its pipes also break, but that error would not explain
 * the cause.
 */
async function settle(parts: readonly Promise<void>[]): Promise<void> {
  for (const outcome of await Promise.allSettled(parts)) {
    if (outcome.status === "rejected") throw outcome.reason;
  }
}
