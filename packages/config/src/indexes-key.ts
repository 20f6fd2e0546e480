import { moduleOf, readModule } from "./modules/module-type.ts";
import { findEntry } from "./source/config-tree.ts";
import { mapByName } from "./types/map-type.ts";
import type { ModuleUse } from "./types/module-kinds.ts";
import { type Reading, Value } from "./types/reading.ts";

const KEY = "cairn/indexes";

export type NamedIndex = readonly [name: string, use: ModuleUse<"index">];

/** A name is a folder, and a part of addresses. */
export const indexesType = mapByName(
  /^[a-z0-9][a-z0-9_-]{0,63}$/,
  "a name of lower-case letters, digits, hyphens and underscores, 64 at most",
  () => moduleOf("index"),
  0,
);

/** Reads `cairn/indexes`. Returns undefined after adding problems. */
export function readIndexes(reading: Reading): readonly NamedIndex[] | undefined {
  const node = findEntry(reading.root, KEY)?.value;
  if (node === undefined || node.type === "null") return [];
  const value = new Value(node, [KEY], reading);
  if (node.type !== "instance") return indexesType.read(value);
  // A map that contains a function is read as a part, which is refused with the reason.
  readModule("index", value);
  return undefined;
}
