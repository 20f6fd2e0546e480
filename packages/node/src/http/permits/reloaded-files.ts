import { stat } from "node:fs/promises";
import { systemClock } from "@cairn/checkpoint";
import { systemErrorCode } from "@cairn/kv";
import { repeatEvery, type RepeatedWork } from "../../concurrency/repeated-work.ts";

/** Files that are only useful together, and what to do with their contents. */
export interface ReloadedFilesOptions<T> {
  readonly paths: readonly string[];
  readonly read: () => Promise<T>;
  readonly apply: (contents: T) => void;
  /**
   * Called if changed files cannot be used. The contents that were applied last remain in use. Other files are read
   * by another call of {@link reloadFiles}, so that a file that cannot be used never delays the withdrawal of a token
   * or an authority in another file.
   */
  readonly onRefused: (error: unknown) => void;
}

const LOOK_INTERVAL_MS = 1_000;

/**
 * Reads files, and again after each change. The files are examined once per second, because notifications of the system
 * do not cover links into folders that are replaced as a whole, as in Kubernetes. A change is read only once the files
 * are the same at two consecutive looks, because a certificate and its key are replaced one after the other.
 */
export async function reloadFiles<T>({
  paths,
  read,
  apply,
  onRefused,
}: ReloadedFilesOptions<T>): Promise<RepeatedWork> {
  let used = await stateOf(paths);
  let last = used;
  apply(await read());
  const look = async (): Promise<void> => {
    const now = await stateOf(paths);
    const isSettled = now === last;
    last = now;
    if (now === used || !isSettled) return;
    used = now;
    apply(await read());
  };
  return repeatEvery(systemClock, LOOK_INTERVAL_MS, look, onRefused);
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
