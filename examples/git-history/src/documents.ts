import type { CommitHeader, Signature } from "./diff-tree-parser.ts";
import type { PathName } from "./path-name.ts";

/** The bucket of files. The namespace is the repository, the name is the path. */
export const FILES = "files";
/** The bucket of commits. The namespace is the repository, the name is the object id. */
export const COMMITS = "commits";

/** The type of a path according to its mode. */
export type FileType = "file" | "executable" | "symlink" | "submodule";

/** A document in {@link FILES}. `blob` is the object's id (a submodule's commit); `path` is present only if the name is shortened. */
export interface FileDocument {
  readonly mode: string;
  readonly type: FileType;
  readonly blob: string;
  readonly path?: string;
}

/**
 * An author or committer. `time` is ISO 8601 in UTC, null if the commit's date cannot be parsed; `zone` is git's form
 * (`+0200`).
 */
export interface Person {
  readonly name: string;
  readonly email: string;
  readonly time: string | null;
  readonly zone: string;
}

/** A document in {@link COMMITS}. */
export interface CommitDocument {
  /** The commit's position in the first-parent history, starting with 1. */
  readonly number: number;
  readonly tree: string;
  readonly parents: readonly string[];
  readonly author: Person;
  readonly committer: Person;
  /** The message's first line, up to 500 characters. */
  readonly subject: string;
  readonly message: string;
  /** Present if the message was truncated. */
  readonly messageCut?: true;
  /** The number of paths that the commit wrote or deleted, compared with its first parent. */
  readonly changes: number;
}

/** Returns the document of a path. */
export function fileDocument(name: PathName, mode: string, oid: string): FileDocument {
  const document = { mode, type: fileType(mode), blob: oid };
  return name.full === undefined ? document : { ...document, path: name.full };
}

/** Returns the document of a commit. */
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
