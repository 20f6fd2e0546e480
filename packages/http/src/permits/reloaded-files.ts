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

/** Files that are only useful together, and what to do with their contents. */
export interface ReloadedFilesOptions<T> {
  readonly paths: readonly string[];
  readonly read: () => Promise<T>;
  readonly apply: (contents: T) => void;
  /**
   * Called once for each reason why changed files cannot be used. The last applied contents remain in use. Files that
   * must not delay each other's changes are read by separate calls of {@link reloadFiles}.
   */
  readonly onRefused: (error: unknown) => void;
  /** Called once files that could not be used can be used again. */
  readonly onUsable: () => void;
}

/** Called when changed files cannot be used, and without a problem once they can be used again. */
export type OnFiles = (paths: readonly string[], problem: CairnError | undefined) => void;

const LOOK_INTERVAL_MS = 1_000;

/**
 * Reads files, and again after each change. They are examined once per second, because notifications do not cover links
 * into folders replaced as a whole (Kubernetes), and read once they are the same at two consecutive looks, because a
 * certificate and its key are replaced one after the other.
 */
export async function reloadFiles<T>(options: ReloadedFilesOptions<T>): Promise<RepeatedWork> {
  const { paths, read, apply, onRefused, onUsable } = options;
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
      if (refusal !== undefined) onUsable();
      refusal = undefined;
    } catch (error) {
      const reason = `${now}\n${errorMessage(error)}`;
      if (reason === refusal) return;
      refusal = reason;
      throw error;
    }
  };
  return repeatEvery(systemClock, LOOK_INTERVAL_MS, look, onRefused);
}

/** Logs and reports why changed files cannot be used; `what` says what happens instead. */
export function reportRefusals(
  paths: readonly string[],
  what: string,
  { logger, onFiles }: { readonly logger: HttpLogger; readonly onFiles?: OnFiles | undefined },
): Pick<ReloadedFilesOptions<unknown>, "paths" | "onRefused" | "onUsable"> {
  return {
    paths,
    onUsable: () => onFiles?.(paths, undefined),
    onRefused: (error) => {
      if (!(error instanceof CairnError)) throw error;
      const { code, message } = error;
      const hint = `${error.hint ?? ""} It is read again when it changes.`.trim();
      logger.warn({ code, message, hint }, what);
      onFiles?.(paths, new CairnError(code, message, hint));
    },
  };
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
