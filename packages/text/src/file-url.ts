import { fileURLToPath } from "node:url";

/** Returns the path that a `file:` URL names; undefined if the URL names no file of this machine. */
export function fileUrlPath(url: string): string | undefined {
  try {
    return fileURLToPath(url);
  } catch {
    return undefined;
  }
}
