import { ThreadModule } from "@cairn/kv/threads";
import type { OwnIndexOptions } from "./own-index.ts";

/**
 * Where threads and processes find the module of `cairn.sqlite/->index`. A stub: the file is not written yet, and once it
 * is, the ThreadModule belongs outside the function, so that a start fails if a bundle lacks the file.
 */
export function sqliteIndexModule(): OwnIndexOptions["module"] {
  return { url: new ThreadModule(import.meta.url, "sqlite-index-worker").url, export: "createSqliteIndex" };
}
