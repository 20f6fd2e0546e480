import { type FileDocument, fileDocument } from "./documents.ts";
import { startGit } from "./git-process.ts";
import { HistoryError } from "./history-error.ts";
import { MAX_TOKEN_BYTES, NulSplitter } from "./nul-splitter.ts";
import { type PathName, pathName } from "./path-name.ts";
import { resolveCommit } from "./repository.ts";

/** A commit's file as it must be in the bucket `files`. */
export interface ExpectedFile {
  readonly name: string;
  readonly document: FileDocument;
}

/** A change that a commit made to a path. `document` is null if the commit removed the path. */
export interface ExpectedChange {
  readonly commit: string;
  readonly document: FileDocument | null;
}

/**
 * Yields the files of a commit as `git ls-tree` lists them, in the order of a node's keys (by the UTF-8 bytes of the
 * name). Git sorts by the bytes of the path, so names that differ from their paths are collected first and merged in.
 * Only these names are kept in memory.
 */
export async function* expectedFiles(
  directory: string,
  ref = "HEAD",
): AsyncGenerator<ExpectedFile, void, undefined> {
  const commit = await resolveCommit(directory, ref);
  const renamed: { file: ExpectedFile; order: Buffer }[] = [];
  for await (const { path, file } of listTree(directory, commit)) {
    const order = Buffer.from(file.name);
    if (!order.equals(path)) renamed.push({ file, order });
  }
  renamed.sort((a, b) => a.order.compare(b.order));
  let next = 0;
  for await (const { path, file } of listTree(directory, commit)) {
    if (!Buffer.from(file.name).equals(path)) continue;
    for (
      let first = renamed[next];
      first !== undefined && first.order.compare(path) < 0;
      first = renamed[next]
    ) {
      yield first.file;
      next += 1;
    }
    yield file;
  }
  for (const { file } of renamed.slice(next)) yield file;
}

/** Yields the changes of `path` in the first-parent history of `ref`, oldest first. */
export async function* expectedHistory(
  directory: string,
  path: Buffer,
  ref = "HEAD",
): AsyncGenerator<ExpectedChange, void, undefined> {
  const commit = await resolveCommit(directory, ref);
  const log = [
    "log",
    "--first-parent",
    "--reverse",
    "-m",
    "--root",
    "--raw",
    "-z",
    "--no-renames",
    "--no-abbrev",
  ];
  const args = [...log, "--ignore-submodules=none", "--full-history", "--format=%H", commit, "--"];
  const name = pathName(path);
  let oid = "";
  let change: string[] | undefined;
  for await (const token of tokensOf(directory, [...LOG_SETTINGS, ...args], path)) {
    const text = token.toString("latin1").replace(/^\n/, "");
    if (change !== undefined) {
      const [, mode = "", , blob = ""] = change;
      // The pathspec also matches files below the path if it once was a directory.
      if (token.equals(path)) {
        yield { commit: oid, document: mode === "000000" ? null : fileDocument(name, mode, blob) };
      }
      change = undefined;
    } else if (text.startsWith(":")) change = text.slice(1).split(" ");
    else if (text !== "") oid = text;
  }
}

// These options override user settings that would change the output of git log.
const LOG_SETTINGS = [
  "-c",
  "log.diffMerges=separate",
  "-c",
  "log.showSignature=false",
  "-c",
  "diff.relative=false",
];

async function* listTree(
  directory: string,
  commit: string,
): AsyncGenerator<{ path: Buffer; file: ExpectedFile }, void, undefined> {
  for await (const token of tokensOf(directory, ["ls-tree", "-r", "-z", "--full-tree", commit])) {
    const tab = token.indexOf(0x09);
    const [mode = "", , oid = ""] = token.toString("latin1", 0, tab).split(" ");
    const path = token.subarray(tab + 1);
    const name: PathName = pathName(path);
    yield { path, file: { name: name.name, document: fileDocument(name, mode, oid) } };
  }
}

async function* tokensOf(
  directory: string,
  args: readonly string[],
  path?: Buffer,
): AsyncGenerator<Buffer, void, undefined> {
  const git =
    path === undefined
      ? startGit(directory, args)
      : startGit(directory, ["--literal-pathspecs", ...args], withLastArgument(path));
  git.stdin.end();
  const tokens: Buffer[] = [];
  const splitter = new NulSplitter((bytes, length) => {
    if (length > MAX_TOKEN_BYTES)
      throw new HistoryError(`git ${args[0]} printed a record of ${length} bytes.`);
    tokens.push(Buffer.from(bytes));
  });
  try {
    for await (const chunk of git.stdout) {
      splitter.push(chunk as Buffer);
      yield* tokens;
      tokens.length = 0;
    }
    await git.finished;
  } finally {
    git.stop();
  }
}

/**
 * Returns a command that runs git with `path` as its last argument. Node passes arguments as strings, which cannot represent bytes that are
 * not UTF-8, so a shell builds the argument. The dot protects newlines at its end, which a shell would remove.
 */
function withLastArgument(path: Buffer): [string, ...string[]] {
  const octal = [...path].map((byte) => `\\${byte.toString(8).padStart(3, "0")}`).join("");
  return ["sh", "-c", `path=$(printf '${octal}.'); exec git "$@" "\${path%.}"`, "sh"];
}
