import { webcrypto } from "node:crypto";

/**
 * Files up to this size are held whole and hashed on another thread while this one goes on; most of LevelDB's tables are
 * smaller. Larger ones are hashed piece by piece.
 */
export const WHOLE_FILE_LIMIT = 4 * 1024 * 1024;

/** The SHA-256 of `content`, computed on another thread. */
export async function digestWhole(content: Uint8Array<ArrayBuffer>): Promise<string> {
  return Buffer.from(await webcrypto.subtle.digest("SHA-256", content)).toString("hex");
}
