import { constants, setPriority } from "node:os";
import { type Transferable, Worker } from "node:worker_threads";
import { CairnError, systemErrorCode } from "../errors/errors.ts";

/** Fewer bytes are processed before a thread has started. */
export const MIN_BYTES_FOR_THREAD = 16 * 1024 * 1024;

/** If an `Error` object were sent between threads, only its name, message and stack would arrive. */
export interface SentError {
  readonly message: string;
  /** Present for a {@link CairnError}. */
  readonly cairn?: { readonly code: CairnError["code"]; readonly hint: string | undefined };
  /** The system's code, such as ENOSPC. */
  readonly system?: string;
}

export function sendError(error: unknown): SentError {
  const message = error instanceof Error ? error.message : String(error);
  if (error instanceof CairnError) return { message, cairn: { code: error.code, hint: error.hint } };
  const system = systemErrorCode(error);
  return system === undefined ? { message } : { message, system };
}

export function receiveError({ message, cairn, system }: SentError): Error {
  if (cairn !== undefined) return new CairnError(cairn.code, message, cairn.hint);
  const error = new Error(message);
  return system === undefined ? error : Object.assign(error, { code: system });
}

/** Starts `<name>.js`, which, in a build, is next to the module whose `import.meta.url` is `moduleUrl`. */
export function startWorker(
  moduleUrl: string,
  name: string,
  workerData: unknown,
  transferList: Transferable[] = [],
): Worker {
  const options = { workerData, transferList };
  if (!moduleUrl.endsWith(".ts")) {
    return new Worker(new URL(`./${name}.js`, moduleUrl), { ...options, ...withoutInputType() });
  }
  // Node does not run TypeScript. If an export condition makes the sources run, the thread runs the build instead.
  const root = moduleUrl.slice(0, moduleUrl.lastIndexOf("/src/"));
  return new Worker(new URL(`${root}/dist/bundle/${name}.js`), { ...options, execArgv: [] });
}

const INPUT_TYPE = /"?--input-type(?:=|\s+)[\w-]+"?/g;

/**
 * Removes the option --input-type, which is meant for programs that are passed as text. A thread inherits it from the
 * command line or NODE_OPTIONS, and then fails.
 */
function withoutInputType(): { execArgv?: string[]; env?: NodeJS.ProcessEnv } {
  const { NODE_OPTIONS: options = "" } = process.env;
  const remaining = options.replaceAll(INPUT_TYPE, "");
  if (remaining !== options) return { execArgv: [], env: { ...process.env, NODE_OPTIONS: remaining } };
  return process.execArgv.some((arg) => arg.startsWith("--input-type")) ? { execArgv: [] } : {};
}

/**
 * Lowers the priority of this thread below all others of the process. Only Linux supports this; elsewhere, it has no
 * effect.
 */
export function lowerThreadPriority(): void {
  if (process.platform === "linux") setPriority(0, constants.priority.PRIORITY_LOW);
}
