import { existsSync } from "node:fs";
import { constants, setPriority } from "node:os";
import { fileURLToPath, pathToFileURL } from "node:url";
import { type Transferable, Worker } from "node:worker_threads";
import { CairnError, errorMessage, missingFile, systemErrorCode } from "../errors/errors.ts";
import { explainedError } from "../errors/system-errors.ts";
import type { Inbox } from "./inbox.ts";

/** Fewer bytes are processed before a thread has started. */
export const MIN_BYTES_FOR_THREAD = 16 * 1024 * 1024;

/** If an `Error` object were sent between threads, only its name, message and stack would arrive. */
export interface SentError {
  readonly message: string;
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

/** The files of a build that threads or processes run, for {@link requireThreadFiles}. */
const builtFiles: string[] = [];

/**
 * A module that threads or processes run: `<name>.js`, which, in a build, is next to the module whose `import.meta.url` is
 * `moduleUrl`. Bundlers may leave that undefined.
 */
export class ThreadModule {
  readonly path: string;
  readonly #name: string;
  readonly #isSource: boolean;

  constructor(moduleUrl: string | undefined, name: string) {
    // Node does not run TypeScript. If an export condition makes the sources run, the thread runs the build instead.
    const base = moduleUrl?.replace(/^(.*)\/src\/.*\.ts$/, "$1/dist/bundle/");
    this.#name = name;
    this.path = base === undefined ? `./${name}.js` : fileURLToPath(new URL(`./${name}.js`, base));
    this.#isSource = base !== moduleUrl;
    if (!this.#isSource) builtFiles.push(this.path);
  }

  get url(): string {
    return pathToFileURL(this.path).href;
  }

  /** Starts a thread. `sent` receives its messages, and the error that ends it. Throws if no thread can be created. */
  start<Message>(workerData: object, sent: Inbox<Message>, transferList: Transferable[] = []): Worker {
    const options = this.#isSource ? { execArgv: [] } : withoutInputType();
    try {
      const worker = new Worker(this.path, { workerData, transferList, ...options });
      worker.on("message", (message: Message) => sent.put(message));
      worker.on("error", (error) => sent.fail(this.failure(error)));
      return worker;
    } catch (error) {
      throw this.failure(error);
    }
  }

  /** Returns why a thread gave no result. Without an error, it exited early, which shows nothing about what it read. */
  failure(cause: unknown = new Error("it ended early")): CairnError {
    // The missing file may also be one that the module imports.
    const [, missing] = /^Cannot find (?:module|package) '([^']+)'/.exec(errorMessage(cause)) ?? [];
    if (missing !== undefined) return missingFile(missing, cause);
    return explainedError(cause, `The thread ${this.#name}`, `The thread ${this.#name} failed`);
  }
}

/**
 * Throws `CONFIG_MODULE` if the file of a {@link ThreadModule} is missing. A program with Cairn in its bundle lacks them,
 * because no import names them, and would otherwise notice it when it first needs a thread, hours later.
 */
export function requireThreadFiles(): void {
  for (const path of builtFiles) if (!existsSync(path)) throw missingFile(path);
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
