import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { type CairnError, indexCorrupt } from "../errors/errors.ts";
import { decodeManifestFile, type LevelManifest } from "./level-manifest.ts";

const MANIFEST_NAME = /^MANIFEST-\d+$/;

/** Throws `INDEX_CORRUPT` if CURRENT names no manifest, or if the manifest cannot be decoded. */
export async function readCurrentManifest(dir: string): Promise<LevelManifest> {
  const path = await currentManifestPath(dir);
  return decodeManifestFile(path, await readFile(path));
}

/** Throws `INDEX_CORRUPT` if CURRENT names no manifest or is not a file. */
export async function currentManifestPath(dir: string): Promise<string> {
  const current = join(dir, "CURRENT");
  // Reading anything other than a file, such as a pipe, could wait forever.
  if (!(await stat(current)).isFile()) throw namesNone(current);
  return join(dir, manifestNameIn(current, await readFile(current)));
}

/** After a power loss, the content of CURRENT may be arbitrary, such as zeros. */
export function manifestNameIn(current: string, content: Uint8Array): string {
  const name = Buffer.from(content).toString("utf8").trim();
  if (MANIFEST_NAME.test(name)) return name;
  throw namesNone(current);
}

function namesNone(current: string): CairnError {
  return indexCorrupt(`The file ${current} is damaged: it names no manifest.`);
}
