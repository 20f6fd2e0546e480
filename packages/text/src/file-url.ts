import { fileURLToPath } from "node:url";

/**
 * Returns the path that a `file:` URL names, also in the form of Java (`file:/folder`). Undefined if the URL names no
 * file of this machine, or has a `?` or `#`, before which the path would end.
 */
export function fileUrlPath(url: string): string | undefined {
  if (!/^file:\/(?:\/\/|(?!\/))[^?#]*$/.test(url)) return undefined;
  try {
    return fileURLToPath(url);
  } catch {
    return undefined;
  }
}
