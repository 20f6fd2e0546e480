import { type CommitDocument, type FileDocument, expectedFiles } from "../../src/index.ts";

/** A parsed line of the history. */
export interface Line {
  readonly id: string;
  readonly ops: readonly (
    | readonly ["put", "files", string, FileDocument]
    | readonly ["put", "commits", string, CommitDocument]
    | readonly ["delete", "files", string]
  )[];
}

/** Parses all lines. */
export async function readLines(lines: AsyncIterable<string>): Promise<Line[]> {
  const read: Line[] = [];
  for await (const line of lines) read.push(JSON.parse(line) as Line);
  return read;
}

/** The contents of a node after a series of transactions, and every path's history, by key. */
export class Folded {
  readonly files = new Map<string, FileDocument>();
  readonly commits = new Map<string, CommitDocument>();
  readonly histories = new Map<string, { commit: string; document: FileDocument | null }[]>();

  /** Applies a transaction like a node, and throws if a node would refuse it. Returns the commit that it completed, if any. */
  apply({ id, ops }: Line): string | undefined {
    const written = new Set<string>();
    const [, , commit = ""] = id.split(":");
    let completed: string | undefined;
    for (const op of ops) {
      const [kind, bucket, key] = op;
      if (written.has(`${bucket} ${key}`)) throw new Error(`${id} writes ${bucket} ${key} twice.`);
      written.add(`${bucket} ${key}`);
      checkKey(key);
      if (kind === "delete") {
        if (!this.files.delete(key)) throw new Error(`${id} deletes ${key}, which does not exist.`);
        this.#remember(key, commit, null);
      } else if (bucket === "files") {
        const document = op[3] as FileDocument;
        this.files.set(key, document);
        this.#remember(key, commit, document);
      } else {
        this.commits.set(key, op[3] as CommitDocument);
        completed = commit;
      }
    }
    return completed;
  }

  #remember(key: string, commit: string, document: FileDocument | null): void {
    const history = this.histories.get(key) ?? [];
    history.push({ commit, document });
    this.histories.set(key, history);
  }
}

/** Returns the files according to git, by key, in the oracle's order. */
export async function filesByGit(
  directory: string,
  ref: string,
  name: string,
): Promise<Map<string, FileDocument>> {
  const files = new Map<string, FileDocument>();
  for await (const file of expectedFiles(directory, ref)) files.set(`${name}/${file.name}`, file.document);
  return files;
}

/** Returns the entries in key order, for comparisons that show the difference. */
export function sorted<T>(map: ReadonlyMap<string, T>): [string, T][] {
  return [...map].toSorted(([a], [b]) => Buffer.from(a).compare(Buffer.from(b)));
}

function checkKey(key: string): void {
  const slash = key.indexOf("/");
  const name = Buffer.byteLength(key.slice(slash + 1));
  if (slash < 1 || name < 1 || name > 1024 || Buffer.from(key).toString() !== key)
    throw new Error(`${key} is not a valid key.`);
}
