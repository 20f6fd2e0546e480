import { CairnError, type ErrorCode, errorMessage, systemErrorCode } from "./errors.ts";

/**
 * What an error of the operating system asks for. None of them says anything about the content of a file, so none of them is a reason to
 * move an index aside, to call a checkpoint damaged, or to build anything anew.
 *
 * - `wait`: the process or the machine has run out of something that comes back by itself. Refuse what was asked, and try again.
 * - `full`: the disk takes no more. Refuse writes until there is room, and try again.
 * - `denied`: the process may not do it. A person has to change that; try again, and say what to change.
 * - `failing`: the device does not do what it should. A person has to look at it; try again, since it may have been a cable.
 */
export type SystemErrorMeaning = "wait" | "full" | "denied" | "failing";

/** An error of the operating system: its name, what it asks for, and what happened, as a clause. */
export interface SystemError {
  readonly errno: string;
  readonly meaning: SystemErrorMeaning;
  readonly what: string;
}

/** The one table. `text` is what strerror says (of glibc, musl and macOS): LevelDB has nothing else in its messages. */
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
    what: "the system has no memory left to give",
    text: /Cannot allocate memory|Out of memory/,
  },
  {
    errno: "EAGAIN",
    meaning: "wait",
    what: "the system cannot do it at this moment",
    text: /Resource temporarily unavailable/,
  },
  { errno: "ENOSPC", meaning: "full", what: "the disk has no space left", text: /No space left on device/ },
  { errno: "EDQUOT", meaning: "full", what: "the disk quota is used up", text: /quota exceeded/i },
  {
    errno: "EFBIG",
    meaning: "full",
    what: "the file would be larger than this process may make one",
    text: /File too large/,
  },
  { errno: "EACCES", meaning: "denied", what: "this user may not use it", text: /Permission denied/ },
  { errno: "EPERM", meaning: "denied", what: "this user may not use it", text: /Operation not permitted/ },
  {
    errno: "EROFS",
    meaning: "denied",
    what: "its file system is read-only",
    text: /Read-only file system/,
  },
  {
    errno: "EIO",
    meaning: "failing",
    what: "the disk answers with an input/output error",
    text: /Input\/output error|I\/O error/,
  },
];

/** What LevelDB says of files begins so; what it says of their content begins with "Corruption: ". */
const LEVEL_IO_ERROR = /^(?:IO error|NotFound): /;
/** Errors wrap one another a few times at most; one that is its own cause must not be followed for ever. */
const MAX_CAUSES = 8;

/**
 * What the operating system said, where that is what lies beneath `error`: read from the code that Node gives it, or from LevelDB's words.
 * Undefined for every other error, and for what already is one of Cairn's own.
 */
export function systemErrorOf(error: unknown): SystemError | undefined {
  let at = error;
  for (let depth = 0; depth < MAX_CAUSES && at !== undefined && at !== null; depth++) {
    if (at instanceof CairnError) return undefined;
    const found = namedBy(errnoOf(at)) ?? saidBy(errorMessage(at));
    if (found !== undefined) return found;
    at = at instanceof Error ? at.cause : undefined;
  }
  return undefined;
}

/** What lies beneath an error of Cairn's own that was made of the operating system's. */
export function systemCauseOf(error: CairnError): SystemError | undefined {
  return systemErrorOf(error.cause);
}

/** Numbers for which Node has no name: EDQUOT of Linux and of macOS. */
const UNNAMED = /^Unknown system error -(?:122|69)$/;

/** A thread that could not be started has a code of Node's own, and the system's in its message. */
function errnoOf(error: unknown): string | undefined {
  const code = systemErrorCode(error);
  if (code !== undefined && UNNAMED.test(code)) return "EDQUOT";
  return code === "ERR_WORKER_INIT_FAILED" ? /\bE[A-Z]+\b/.exec(errorMessage(error))?.[0] : code;
}

function namedBy(code: string | undefined): SystemError | undefined {
  return code === undefined ? undefined : SYSTEM_ERRORS.find(({ errno }) => errno === code);
}

function saidBy(message: string): SystemError | undefined {
  if (!LEVEL_IO_ERROR.test(message)) return undefined;
  // A path comes before it, and may hold any words.
  const reason = message.slice(message.lastIndexOf(": ") + 2);
  return SYSTEM_ERRORS.find(({ text }) => text.test(reason));
}

/** What to answer for a meaning, and what to do about it. */
const ANSWERS: Readonly<Record<SystemErrorMeaning, { readonly code: ErrorCode; readonly hint: string }>> = {
  wait: {
    code: "SYSTEM_REFUSED",
    hint: "Nothing is lost, and a node goes on by itself. If it happens again, raise the limit of open files (ulimit -n, LimitNOFILE of systemd) or of memory.",
  },
  full: { code: "DISK_FULL", hint: "Free some space: a node goes on by itself then. Nothing is lost." },
  denied: {
    code: "CONFIG_INVALID",
    hint: "Give the user of this process access; a running node goes on by itself then. Nothing was deleted.",
  },
  failing: {
    code: "SYSTEM_REFUSED",
    hint: "Nothing was deleted or moved. Look at the disk and at the kernel's log; a node tries again, and goes on by itself once the disk answers.",
  },
};

/** What users are shown of `system`, with the code that the table gives it; `subject` is a noun phrase, such as "The index in /data/live". */
export function systemRefused(
  subject: string,
  { errno, meaning, what }: SystemError,
  cause: unknown,
): CairnError {
  const { code, hint } = ANSWERS[meaning];
  const said = errorMessage(cause);
  return new CairnError(code, `${subject} cannot be used: ${what} (${errno}). What failed: ${said}.`, {
    hint,
    cause,
  });
}
