import type { OwnIndex, OwnIndexContext } from "../own-index.ts";
import { openSqliteIndex } from "./sqlite-index.ts";
import type { SqliteIndexOptions } from "./sqlite-options.ts";
import { openSqliteReader } from "./sqlite-reader.ts";

/** The module `cairn.sqlite/->index`. The configuration has checked the options. */
export function createSqliteIndex(
  options: Readonly<Record<string, unknown>>,
  context: OwnIndexContext,
): Promise<OwnIndex> {
  const checked = options as unknown as SqliteIndexOptions;
  return context.readOnly ? openSqliteReader(checked, context) : openSqliteIndex(checked, context);
}
