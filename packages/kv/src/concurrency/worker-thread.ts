import { constants, setPriority } from "node:os";
import { type Transferable, Worker } from "node:worker_threads";
import { CairnError, systemErrorCode } from "../errors/errors.ts";

/** In bytes: fewer are done with before another thread has started. */
export const WORTH_A_THREAD = 16 * 1024 * 1024;

/** An error on its way between two threads: of an `Error` itself only name, message and stack would arrive. */
export interface SentError {
  readonly message: string;
  /** Of Cairn's own, with its hint. */
  readonly cairn?: { readonly code: CairnError["code"]; readonly hint: string | undefined };
  /** The system's code, such as ENOSPC. */
  readonly system?: string;
}

/** What to send for `error`. */
export function sendError(error: unknown): SentError {
  const message = error instanceof Error ? error.message : String(error);
  if (error instanceof CairnError) return { message, cairn: { code: error.code, hint: error.hint } };
  const system = systemErrorCode(error);
  return system === undefined ? { message } : { message, system };
}

/** The error that was sent. */
export function receiveError({ message, cairn, system }: SentError): Error {
  if (cairn !== undefined) {
    return new CairnError(cairn.code, message, cairn.hint === undefined ? {} : { hint: cairn.hint });
  }
  const error = new Error(message);
  return system === undefined ? error : Object.assign(error, { code: system });
}

/** Starts `<name>.js`, which in a build lies beside the module whose `import.meta.url` is `beside`; what is transferred is its own then. */
export function startWorker(
  beside: string,
  name: string,
  workerData: unknown,
  transferList: Transferable[] = [],
): Worker {
  const given = { workerData, transferList };
  if (!beside.endsWith(".ts")) return new Worker(new URL(`./${name}.js`, beside), { ...given, ...ofFile() });
  // Node runs no TypeScript: who runs the sources, by export conditions of its own, gets the thread from the build.
  const root = beside.slice(0, beside.lastIndexOf("/src/"));
  return new Worker(new URL(`${root}/dist/bundle/${name}.js`), { ...given, execArgv: [] });
}

const OF_TEXT = /"?--input-type(?:=|\s+)[\w-]+"?/g;

/** A thread inherits the flags of a program given as text, from the command line and from NODE_OPTIONS, and is refused with them. */
function ofFile(): { execArgv?: string[]; env?: NodeJS.ProcessEnv } {
  const { NODE_OPTIONS: options = "" } = process.env;
  const given = options.replaceAll(OF_TEXT, "");
  if (given !== options) return { execArgv: [], env: { ...process.env, NODE_OPTIONS: given } };
  return process.execArgv.some((arg) => arg.startsWith("--input-type")) ? { execArgv: [] } : {};
}

/** Lets every other thread of the process go first. Only Linux gives a priority to one thread; elsewhere nothing changes. */
export function yieldToOtherThreads(): void {
  if (process.platform === "linux") setPriority(0, constants.priority.PRIORITY_LOW);
}
