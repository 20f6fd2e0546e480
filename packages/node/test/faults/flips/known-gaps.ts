import type { Tolerance } from "./flip-examination.ts";

/**
 * Whether a running node compares the tables of its index with their checksums by itself, and a starting one before it is ready. Until
 * then a table in which a row cannot be found any more is noticed at the next start alone, shortly after it: answers that lack such a
 * row, or have an older one in its place, are counted and allowed. Once it is true, host-child.ts has to let nodes scrub within seconds:
 * a running node has to find out, and a started one to know already.
 */
const TABLES_ARE_SCRUBBED = false;

/**
 * Whether a node compares its tables before LevelDB opens them. LevelDB merges tables as soon as it is open, and a key that is out of
 * order then fails an assertion in native code, at every start: until then a node that does not start for it is counted and allowed.
 */
export const TABLES_ARE_CHECKED_BEFORE_OPENING = false;

/** What may be hidden of a table that was changed since the node was started, or before that. */
export function toleranceOf(wanted: Tolerance): Tolerance {
  if (!TABLES_ARE_SCRUBBED) return wanted;
  return wanted === "running" ? "until-checked" : "never";
}
