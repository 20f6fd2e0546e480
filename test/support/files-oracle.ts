import { expectedFiles, FILES } from "@cairn/example-git-history";
import { runCairn } from "./cairn-process.ts";

/** A file of the repository as the node stores it. */
export interface IndexedFile {
  readonly name: string;
  readonly document: unknown;
}

/** Reads a node's bucket `files`, in key order, with `cairn list`. */
export async function indexedFiles(url: string): Promise<IndexedFile[]> {
  const { stdout, stderr, code } = await runCairn(["list", FILES, "--all", "--json", "--url", url]);
  if (code !== 0) throw new Error(stderr);
  return stdout
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => {
      const { name, document } = JSON.parse(line) as IndexedFile;
      return { name, document };
    });
}

/** Returns the same files as `git ls-tree -r` lists them. */
export async function gitFiles(directory: string, ref = "HEAD"): Promise<IndexedFile[]> {
  const files: IndexedFile[] = [];
  for await (const { name, document } of expectedFiles(directory, ref)) files.push({ name, document });
  return files;
}

/** Turns lines into NDJSON. */
export async function* withLineBreaks(lines: AsyncIterable<string>): AsyncGenerator<string> {
  for await (const line of lines) yield `${line}\n`;
}
