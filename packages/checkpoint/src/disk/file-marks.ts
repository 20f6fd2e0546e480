import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { syncFile, syncFolder } from "@cairn/kv";

/** What tells, for each file of a folder, that its content is still what it was. */
export type FileMarks = ReadonlyMap<string, string>;

/** The marks of all files of a folder. */
export async function fileMarks(folder: string): Promise<FileMarks> {
  const names = await readdir(folder);
  return new Map(
    await Promise.all(
      names.map(async (name): Promise<[string, string]> => {
        const { ino, size, mtimeNs, ctimeNs } = await stat(join(folder, name), { bigint: true });
        return [name, `${ino} ${size} ${mtimeNs} ${ctimeNs}`];
      }),
    ),
  );
}

/** Makes the files of a folder that are not as they were when all survived a power loss, and the names of all, survive one. */
export async function syncChangedFiles(folder: string, flushed: FileMarks): Promise<void> {
  for (const [name, mark] of await fileMarks(folder)) {
    if (flushed.get(name) !== mark) await syncFile(join(folder, name));
  }
  await syncFolder(folder);
}
