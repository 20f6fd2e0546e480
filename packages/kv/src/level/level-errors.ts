import { CairnError, errorMessage, indexCorrupt, systemErrorCode } from "../errors/errors.ts";
import { systemErrorOf, systemRefused } from "../errors/system-errors.ts";

// When the database was opened, a file that the manifest names was missing or not a file, or the file system itself was
// damaged (EUCLEAN).
const MISSING_OR_DAMAGED = /No such file|Is a directory|Not a directory|Invalid argument|cleaning/;
/** The pattern of errors without a code, which occur when the calling thread reads. */
const IO_ERROR = /^IO error: /;

/** Returns the error that abstract-level wraps if the database could not be opened, and otherwise the error itself. */
export function innermost(error: unknown): unknown {
  if (systemErrorCode(error) !== "LEVEL_DATABASE_NOT_OPEN") return error;
  return error instanceof Error && error.cause !== undefined ? error.cause : error;
}

/**
 * A refusal by the system (system-errors.ts) never becomes `INDEX_CORRUPT`, but a missing file of the database does.
 */
export function explainOpening(error: unknown, dir: string): unknown {
  if (error instanceof CairnError) return error;
  const cause = innermost(error);
  const code = systemErrorCode(cause);
  const message = errorMessage(cause);
  if (code === "LEVEL_LOCKED") return locked(dir, cause);
  const refused = refusedBySystem(cause, dir);
  if (refused !== undefined) return refused;
  if (code === "LEVEL_CORRUPTION" || code === "EISDIR" || MISSING_OR_DAMAGED.test(message)) {
    return indexCorrupt(`The index in ${dir} cannot be read: ${message}.`, cause);
  }
  return cause;
}

/** Errors about the arguments of the operation are returned unchanged. */
export function explainOperation(error: unknown, dir: string): unknown {
  // An error with a code is more specific: if a capture runs out of space, its error names another folder.
  if (error instanceof CairnError) return error;
  const code = systemErrorCode(error);
  const message = errorMessage(error);
  if (code === "LEVEL_DATABASE_NOT_OPEN" || code === "LEVEL_ITERATOR_NOT_OPEN") return closed(dir);
  if (code === "LEVEL_SNAPSHOT_NOT_OPEN") return snapshotClosed(error);
  // LevelDB opens a table when it first reads it, and may then lack a descriptor, memory or permission.
  const refused = refusedBySystem(error, dir);
  if (refused !== undefined) return refused;
  if (code === "LEVEL_CORRUPTION" || code === "LEVEL_IO_ERROR" || IO_ERROR.test(message)) {
    return indexCorrupt(
      `The index in ${dir} can no longer be used: ${message}.`,
      error,
      "Check the disk, and start again. The index is then checked, and restored from a checkpoint if it is damaged.",
    );
  }
  return error;
}

/** Awaits an operation, whose errors it explains. */
export async function explained<T>(work: Promise<T>, dir: string): Promise<T> {
  try {
    return await work;
  } catch (error) {
    throw explainOperation(error, dir);
  }
}

/** Returns the error for users if the operating system refused something; undefined for other errors. */
function refusedBySystem(error: unknown, dir: string): CairnError | undefined {
  const system = systemErrorOf(error);
  return system === undefined ? undefined : systemRefused(`The index in ${dir}`, system, error);
}

export function closed(dir: string): CairnError {
  return new CairnError(
    "NOT_READY",
    `The index in ${dir} is closed.`,
    "Open it again, or wait until the node has opened it.",
  );
}

export function snapshotClosed(cause?: unknown): CairnError {
  return new CairnError("NOT_READY", "The snapshot was closed before it was read.", { cause });
}

export function locked(dir: string, cause?: unknown): CairnError {
  return new CairnError("INDEX_LOCKED", `The index in ${dir} is already in use.`, {
    hint: "Stop the other node that uses it, or give each node its own directory.",
    cause,
  });
}

export function filesGone(dir: string): CairnError {
  return indexCorrupt(
    `The files of the index in ${dir} were removed or replaced while it was open. It is still served from open files.`,
    undefined,
    "If there is no checkpoint and the log was trimmed (cairn checkpoint list, cairn log status), this node has the only copy: first print its documents (cairn export > FILE). Stop the node and start it again. It then rebuilds its index from a checkpoint and the log. Then find out what removed the files.",
  );
}
