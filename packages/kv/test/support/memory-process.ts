import { openRanged } from "../../src/ranges/ranged-store.ts";
import { folderFiles } from "./folder-files.ts";

// Tests start this module as another process with `--expose-gc`, because what else a process does changes its memory.
// It reads all rows of the database in a folder, and prints their size and the memory that they then take (bytes).
const ranged = await openRanged(await folderFiles(process.argv[2] ?? ""));
const before = memoryInUse();
let bytesRead = 0;
for await (const page of ranged.range({}))
  for (const [key, value] of page) bytesRead += key.length + value.length;
const kept = memoryInUse() - before;
// What is kept must be in use until now.
const isKept = (await ranged.get(Buffer.alloc(0))) === undefined;
process.stdout.write(JSON.stringify({ bytesRead, kept, isKept }));

function memoryInUse(): number {
  globalThis.gc?.();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}
