import type { CommitHeader, Signature } from "./diff-tree-parser.ts";
import type { PathName } from "./path-name.ts";

/** The bucket of a repository's files: namespace the repository, name the path. */
export const FILES = "files";
/** The bucket of its commits: namespace the repository, name the object id. */
export const COMMITS = "commits";

/** What a path is, by its mode. */
export type FileType = "file" | "executable" | "symlink" | "submodule";

/** A document in {@link FILES}. `blob` is the object's id (a submodule's: its commit); `path` only where the name is shortened. */
export interface FileDocument {
  readonly mode: string;
  readonly type: FileType;
  readonly blob: string;
  readonly path?: string;
}

/** Who and when. `time` is ISO-8601 in UTC, null where the commit's date cannot be read; `zone` as git has it (`+0200`). */
export interface Person {
  readonly name: string;
  readonly email: string;
  readonly time: string | null;
  readonly zone: string;
}

/** A document in {@link COMMITS}. */
export interface CommitDocument {
  /** 1 for the first commit along first parents. */
  readonly number: number;
  readonly tree: string;
  readonly parents: readonly string[];
  readonly author: Person;
  readonly committer: Person;
  /** The message's first line, at most 500 characters of it. */
  readonly subject: string;
  readonly message: string;
  /** The message is only the beginning of the commit's. */
  readonly messageCut?: true;
  /** How many paths the commit put or deleted, compared with its first parent. */
  readonly changes: number;
}

/** The document of a path. */
export function fileDocument(name: PathName, mode: string, oid: string): FileDocument {
  const document = { mode, type: fileType(mode), blob: oid };
  return name.full === undefined ? document : { ...document, path: name.full };
}

/** The document of a commit. */
export function commitDocument(
  header: CommitHeader,
  place: { number: number; parents: readonly string[]; changes: number },
): CommitDocument {
  return {
    number: place.number,
    tree: header.tree,
    parents: place.parents,
    author: person(header.author),
    committer: person(header.committer),
    subject: /^[^\n]{0,500}/u.exec(header.message.trimStart())?.[0] ?? "",
    message: header.message,
    ...(header.messageCut ? { messageCut: true } : {}),
    changes: place.changes,
  };
}

function fileType(mode: string): FileType {
  if (mode === "120000") return "symlink";
  if (mode === "160000") return "submodule";
  return mode === "100755" ? "executable" : "file";
}

function person({ name, email, date }: Signature): Person {
  const [seconds = "", zone = ""] = date.split(" ");
  const time = new Date(seconds === "" ? Number.NaN : Number(seconds) * 1000);
  return { name, email, time: Number.isNaN(time.getTime()) ? null : time.toISOString(), zone };
}
