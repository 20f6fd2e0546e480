import { CairnError, type ErrorCode, errorMessage, systemErrorCode } from "./errors.ts";

/**
 * The response to an operating system error. Such an error is no evidence about a file's content, so it is never a
 * reason to move an index aside, to treat a checkpoint as damaged, or to rebuild anything.
 *
 * - `wait`: the process or the machine has run out of a resource that will become available again. Reject the request,
 *   and try again later.
 * - `full`: the disk is full. Reject writes until there is space, and try again.
 * - `denied`: the process lacks a permission that an operator must grant. Report what to change, and try again.
 * - `failing`: the device is failing, which an operator must examine. Try again, since a cable may have been the cause.
 */
type SystemErrorMeaning = "wait" | "full" | "denied" | "failing";

/** An error of the operating system: its name, the response, and what happened, as a clause. */
export interface SystemError {
  readonly errno: string;
  readonly meaning: SystemErrorMeaning;
  readonly what: string;
  /** What to do, if it is not what the others with this meaning require. */
  readonly hint?: string;
}

/** What hints say of a node that met the error while it ran. One that could not start has ended. */
const CONTINUES = "; a running node then continues by itself";

/**
 * The only table of system errors. `text` matches the strings that strerror returns in glibc, musl and macOS, because
 * LevelDB's messages contain nothing else.
 */
const SYSTEM_ERRORS: readonly (SystemError & { readonly text: RegExp })[] = [
  {
    errno: "ENFILE",
    meaning: "wait",
    what: "this machine has as many files open as it can",
    text: /Too many open files in system|File table overflow/,
  },
  {
    errno: "EMFILE",
    meaning: "wait",
    what: "this process has as many files open as it may",
    text: /Too many open files|No file descriptors available/,
  },
  {
    errno: "ENOMEM",
    meaning: "wait",
    what: "the system is out of memory",
    text: /Cannot allocate memory|Out of memory/,
  },
  {
    errno: "EAGAIN",
    meaning: "wait",
    what: "the resource is temporarily unavailable",
    text: /Resource temporarily unavailable/,
  },
  { errno: "ENOSPC", meaning: "full", what: "the disk has no space left", text: /No space left on device/ },
  { errno: "EDQUOT", meaning: "full", what: "the disk quota is used up", text: /quota exceeded/i },
  {
    errno: "EFBIG",
    meaning: "full",
    what: "the file would exceed the file size limit of this process",
    hint: "Raise the limit on the size of files (ulimit -f, LimitFSIZE of systemd), and start the node, or run the command, again.",
    text: /File too large/,
  },
  { errno: "EACCES", meaning: "denied", what: "this user may not use it", text: /Permission denied/ },
  { errno: "EPERM", meaning: "denied", what: "this user may not use it", text: /Operation not permitted/ },
  {
    errno: "EROFS",
    meaning: "denied",
    what: "its file system is read-only",
    // The kernel makes a file system read-only when its disk fails, and it cannot be repaired while a node uses it.
    hint: `Mount its file system writable${CONTINUES}. If nobody mounted it read-only, its disk is failing (see the kernel's log): stop the node, repair the file system, and start the node. Nothing was deleted.`,
    text: /Read-only file system/,
  },
  {
    errno: "EIO",
    meaning: "failing",
    what: "the disk returns an input/output error",
    text: /Input\/output error|I\/O error/,
  },
];

/** The beginning of LevelDB's messages about files; messages about their content begin with "Corruption: ". */
const LEVEL_IO_ERROR = /^(?:IO error|NotFound): /;
/** Errors are nested a few levels deep at most, but one may be its own cause. */
const MAX_CAUSES = 8;

/**
 * Returns the error of the operating system that underlies `error`, which is recognized by its code or by LevelDB's
 * message; undefined for any other error, and for Cairn's errors.
 */
export function systemErrorOf(error: unknown): SystemError | undefined {
  let at = error;
  for (let depth = 0; depth < MAX_CAUSES && at !== undefined && at !== null; depth++) {
    if (at instanceof CairnError) return undefined;
    const code = errnoOf(at);
    const found = SYSTEM_ERRORS.find(({ errno }) => errno === code) ?? saidBy(errorMessage(at));
    if (found !== undefined) return found;
    at = at instanceof Error ? at.cause : undefined;
  }
  return undefined;
}

/** The pattern of Node's message for EDQUOT on Linux and macOS, for which Node has no name. */
const UNNAMED = /^Unknown system error -(?:122|69)$/;

/** Returns the system's code. If a thread could not be started, the code is in Node's message, unless memory ran out. */
function errnoOf(error: unknown): string | undefined {
  const code = systemErrorCode(error);
  if (code !== undefined && UNNAMED.test(code)) return "EDQUOT";
  if (code === "ERR_WORKER_OUT_OF_MEMORY") return "ENOMEM";
  return code === "ERR_WORKER_INIT_FAILED" ? /\bE[A-Z]+\b/.exec(errorMessage(error))?.[0] : code;
}

function saidBy(message: string): SystemError | undefined {
  if (!LEVEL_IO_ERROR.test(message)) return undefined;
  // The path that precedes the reason may contain any words.
  const reason = message.slice(message.lastIndexOf(": ") + 2);
  return SYSTEM_ERRORS.find(({ text }) => text.test(reason));
}

/** Returns the hint for a node that could not start because of the error. */
export function hintToStart(hint: string): string {
  return hint.replace(CONTINUES, ", and start the node again");
}

const ANSWERS: Readonly<Record<SystemErrorMeaning, { readonly code: ErrorCode; readonly hint: string }>> = {
  wait: {
    code: "SYSTEM_REFUSED",
    hint: `Wait${CONTINUES}. If this happens again, raise the limit on open files (ulimit -n, LimitNOFILE of systemd) or on memory. Nothing is lost.`,
  },
  full: {
    code: "DISK_FULL",
    hint: `Free some space${CONTINUES}. If there is space, inodes have run out (df -i): remove files. Nothing is lost.`,
  },
  denied: {
    code: "CONFIG_INVALID",
    hint: `Give the user of this process access${CONTINUES}. Nothing was deleted.`,
  },
  failing: {
    code: "SYSTEM_REFUSED",
    hint: `Check the disk and the kernel's log${CONTINUES}. Nothing was deleted or moved.`,
  },
};

/** `subject` is a noun phrase such as "The index in /data/live". */
export function systemRefused(
  subject: string,
  { errno, meaning, what, hint = ANSWERS[meaning].hint }: SystemError,
  cause: unknown,
): CairnError {
  const { code } = ANSWERS[meaning];
  const said = errorMessage(cause);
  return new CairnError(code, `${subject} cannot be used: ${what} (${errno}). What failed: ${said}.`, {
    hint,
    cause,
  });
}

/** Returns any thrown value as an error for users. `happened` is a clause for an unexpected one. */
export function explainedError(cause: unknown, subject: string, happened: string): CairnError {
  if (cause instanceof CairnError) return cause;
  const system = systemErrorOf(cause);
  if (system !== undefined) return systemRefused(subject, system, cause);
  const hint =
    "Report this error together with the node's log output. The data in the transaction log is not affected.";
  return new CairnError("INTERNAL", `${happened}: ${errorMessage(cause)}.`, { hint, cause });
}

/** Reasons why a folder cannot be used that are not refusals by the system, as clauses. Each requires an operator. */
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
  if (system !== undefined) return systemRefused(`The folder ${dir}`, system, error);
  const why = UNUSABLE[code];
  if (why === undefined) return error;
  return new CairnError("CONFIG_INVALID", `The folder ${dir} cannot be used: ${why} (${code}).`, {
    hint: "Fix the folder, or configure another one, and start again. Nothing was deleted.",
    cause: error,
  });
}
