import { CairnError } from "@cairn/kv/threads";

/** Strings, quoted names and comments, in which nothing is a keyword or ends a statement. */
const QUOTED = /'(?:[^']|'')*'|"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\]|--[^\n]*|\/\*[\s\S]*?(?:\*\/|$)/g;
const READS = /^\s*(?:select|with|values|explain)\b/i;

/**
 * Throws `REQUEST_INVALID` unless a text is one statement that reads. The database is read-only in any case, but other
 * statements could open other files, and what follows a first statement would be ignored.
 */
export function requireQuery(text: string): void {
  const code = text.replaceAll(QUOTED, (part) => (/^(?:--|\/\*)/.test(part) ? " " : "''"));
  if (!READS.test(code)) {
    throw refused("A query begins with SELECT, WITH, VALUES or EXPLAIN.");
  }
  if (/;\s*\S/.test(code)) throw refused("A query is one statement, and this text has several.");
}

function refused(message: string): CairnError {
  return new CairnError(
    "REQUEST_INVALID",
    message,
    "Indexes are only read: documents are changed by transactions.",
  );
}
