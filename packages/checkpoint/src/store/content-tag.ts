import { createHash } from "node:crypto";

/** The tag of a small file: another content has another one. */
export function contentTag(content: Uint8Array): string {
  return createHash("sha256").update(content).digest("hex");
}
