import { open, readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import type { RangedFiles } from "../../src/ranges/ranged-table.ts";

/** Returns the files of a captured database in a folder. `onRead` is called before each read. */
export async function folderFiles(
  dir: string,
  onRead: (name: string, start: number, end: number) => void = () => {},
): Promise<RangedFiles> {
  const sizes = new Map<string, number>();
  for (const name of await readdir(dir)) sizes.set(name, (await stat(join(dir, name))).size);
  return {
    place: "the folder",
    sizes,
    whole: async (name) => {
      onRead(name, 0, sizes.get(name) ?? 0);
      return await readFile(join(dir, name));
    },
    read: async (name, start, end) => {
      onRead(name, start, end);
      const file = await open(join(dir, name));
      try {
        const bytes = Buffer.alloc(end - start);
        await file.read(bytes, 0, bytes.length, start);
        return bytes;
      } finally {
        await file.close();
      }
    },
  };
}
