import { stat } from "node:fs/promises";
import {
  systemClock,
  CairnError,
  errorMessage,
  readSmallFile,
  systemErrorCode,
  repeatEvery,
  type RepeatedWork,
} from "@cairn/kv";
import type { HttpLogger } from "../answers/failed-requests.ts";

/** Called when changed files cannot be used, and without a problem once they can be used again. */
export type OnFiles = (paths: readonly string[], problem: CairnError | undefined) => void;

const LOOK_INTERVAL_MS = 1_000;

/** The files of a server that are read again when they change. */
export class ReloadedFiles {
  readonly #logger: HttpLogger;
  readonly #onFiles: OnFiles | undefined;
  readonly #looking: RepeatedWork[] = [];

  constructor({ logger, onFiles }: { readonly logger: HttpLogger; readonly onFiles?: OnFiles | undefined }) {
    this.#logger = logger;
    this.#onFiles = onFiles;
  }

  /**
   * Reads files that are only useful together, and again after each change. They are examined once per second, because
   * notifications do not cover links into folders replaced as a whole (Kubernetes), and read once they are the same at
   * two consecutive looks, because a certificate and its key are replaced one after the other. If changed files cannot be
   * used, what was applied last remains in use, and `refused`, which says so, is logged once for each reason. Files that
   * must not delay each other's changes are followed by separate calls.
   */
  async follow<T>(
    paths: readonly string[],
    refused: string,
    read: () => Promise<T>,
    apply: (contents: T) => void,
  ): Promise<void> {
    let used = await stateOf(paths);
    let last = used;
    apply(await read());
    let refusal: string | undefined;
    const look = async (): Promise<void> => {
      const now = await stateOf(paths);
      const isSettled = now === last;
      last = now;
      if ((now === used && refusal === undefined) || !isSettled) return;
      try {
        apply(await read());
        used = now;
        if (refusal !== undefined) this.#onFiles?.(paths, undefined);
        refusal = undefined;
      } catch (error) {
        const reason = `${now}\n${errorMessage(error)}`;
        if (reason === refusal) return;
        refusal = reason;
        throw error;
      }
    };
    const report = (error: unknown): void => {
      if (!(error instanceof CairnError)) throw error;
      const { code, message } = error;
      const hint = `${error.hint ?? ""} It is read again when it changes.`.trim();
      this.#logger.warn({ code, message, hint }, refused);
      this.#onFiles?.(paths, new CairnError(code, message, hint));
    };
    this.#looking.push(repeatEvery(systemClock, LOOK_INTERVAL_MS, look, report));
  }

  async close(): Promise<void> {
    await Promise.all(this.#looking.map((work) => work.stop()));
  }
}

/** Returns a text that changes when one of the files is replaced or changed. */
async function stateOf(paths: readonly string[]): Promise<string> {
  const states = await Promise.all(
    paths.map(async (path) => {
      try {
        const { dev, ino, size, mtimeNs, ctimeNs } = await stat(path, { bigint: true });
        return [dev, ino, size, mtimeNs, ctimeNs].join(" ");
      } catch (error) {
        return systemErrorCode(error) ?? "unreadable";
      }
    }),
  );
  return states.join("\n");
}

/** `what` is the kind of content, such as a token. Throws `CONFIG_INVALID` if unreadable or larger than a MiB. */
export async function readFileOf(what: string, path: string): Promise<Buffer> {
  let bytes: Buffer | undefined;
  try {
    bytes = await readSmallFile(path);
  } catch (error) {
    throw new CairnError("CONFIG_INVALID", `The file of ${what}, ${path}, cannot be read.`, {
      hint: "Check the path and the permissions of the file.",
      cause: error,
    });
  }
  if (bytes !== undefined) return bytes;
  throw new CairnError(
    "CONFIG_INVALID",
    `The file of ${what}, ${path}, is larger than 1 MiB.`,
    "Check the path: it may name another file.",
  );
}
