import { CairnError, systemErrorCode } from "../errors/errors.ts";
import { systemErrorOf, systemRefused } from "../errors/system-errors.ts";

/** The reasons why a folder cannot be used, as clauses. Each requires an operator. */
const UNUSABLE: Readonly<Record<string, string>> = {
  ENOTDIR: "a part of its path is a file",
  EEXIST: "a file or a dangling link with its name exists",
  ENAMETOOLONG: "its path is too long",
  ELOOP: "its path contains a loop of symbolic links",
  EXDEV: "a part of it is on another file system",
  EBUSY: "a part of it is a mount point, or in use",
};

/**
 * Converts system errors about a local folder to `DISK_FULL`, `SYSTEM_REFUSED` or `CONFIG_INVALID`. Other errors are
 * returned unchanged.
 */
export function diskError(error: unknown, dir: string): unknown {
  const code = systemErrorCode(error);
  if (error instanceof CairnError || code === undefined) return error;
  const system = systemErrorOf(error);
  if (system?.meaning === "full") {
    return new CairnError("DISK_FULL", `The disk of ${dir} has no space left (${code}).`, {
      hint: "Free some space. Partially written files are removed.",
      cause: error,
    });
  }
  if (system?.meaning === "wait" || system?.meaning === "failing") {
    return systemRefused(`The folder ${dir}`, system, error);
  }
  const why = system?.what ?? UNUSABLE[code];
  if (why === undefined) return error;
  return new CairnError("CONFIG_INVALID", `The folder ${dir} cannot be used: ${why} (${code}).`, {
    hint: "Fix the folder, or configure another one, and start again. Nothing was deleted.",
    cause: error,
  });
}
