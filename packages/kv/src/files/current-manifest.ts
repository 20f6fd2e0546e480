import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { CairnError } from "../errors/errors.ts";
import { decodeManifestFile, type LevelManifest } from "./level-manifest.ts";

const MANIFEST_NAME = /^MANIFEST-\d+$/;

/** The manifest of a LevelDB, as it lies on the disk and decoded. */
export interface CurrentManifest {
  readonly path: string;
  readonly bytes: Buffer;
  readonly manifest: LevelManifest;
}

/** The manifest that CURRENT names in the LevelDB in `dir`. `INDEX_CORRUPT` where it names none, or that cannot be read as one. */
export async function readCurrentManifest(dir: string): Promise<CurrentManifest> {
  const path = await currentManifestPath(dir);
  const bytes = await readFile(path);
  return { path, bytes, manifest: decodeManifestFile(path, bytes) };
}

/** Where the manifest lies that CURRENT names in the LevelDB in `dir`. `INDEX_CORRUPT` where it names none, or is no file. */
export async function currentManifestPath(dir: string): Promise<string> {
  const current = join(dir, "CURRENT");
  // Whatever else has that name, as a pipe, would be waited for.
  if (!(await stat(current)).isFile()) throw namesNone(current);
  return join(dir, manifestNameIn(current, await readFile(current)));
}

/** The manifest that the content of the file CURRENT names. After a power loss it may hold anything, zeros for example. */
export function manifestNameIn(current: string, content: Uint8Array): string {
  const name = Buffer.from(content).toString("utf8").trim();
  if (MANIFEST_NAME.test(name)) return name;
  throw namesNone(current);
}

function namesNone(current: string): CairnError {
  return new CairnError("INDEX_CORRUPT", `The file ${current} is damaged: it names no manifest.`, {
    hint: "Restore the index from a checkpoint; the transaction log has everything that is in it.",
  });
}
