import { readdir, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import type { Chance } from "./odd-values.ts";

/** The folder of a store, and one next to it to which nothing may write. */
export interface Damaged {
  readonly store: string;
  readonly outside: string;
  readonly chance: Chance;
}

/** The name of a checkpoint that was never saved. */
export const NEVER_TAKEN = "checkpoint-99-2026-11-20T06-12-26.123Z-1f3a9c0e";

/** Replaces a file, which earlier damage may have turned into a link or a pipe. */
export async function put({ store }: Damaged, name: string, content: string | Buffer): Promise<void> {
  await rm(path.join(store, name), { recursive: true, force: true });
  await writeFile(path.join(store, name), content);
}

/** Picks a regular file of the store. */
export async function pickFile({ store, chance }: Damaged): Promise<string> {
  const files = (await readdir(store, { withFileTypes: true })).filter((entry) => entry.isFile());
  const [first = "", ...rest] = files.map(({ name }) => name).toSorted();
  return chance.pick([first, ...rest]);
}

/** Picks the name of a checkpoint that has a manifest. */
export async function pickCheckpoint({ store, chance }: Damaged): Promise<string> {
  const files = (await readdir(store, { withFileTypes: true })).filter((entry) => entry.isFile());
  const manifests = files
    .map(({ name }) => name)
    .filter((name) => /^checkpoint-\d.*Z-[0-9a-f]{8}\.json$/.test(name));
  const [first = `${NEVER_TAKEN}.json`, ...rest] = manifests.toSorted();
  return chance.pick([first, ...rest]).slice(0, -".json".length);
}
