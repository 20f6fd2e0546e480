import { createReadStream } from "node:fs";
import { buffer } from "node:stream/consumers";

const MAX_BYTES = 1_048_576;

/** Reads a file such as a key. Undefined if it has more than a MiB. Throws the system's errors. */
export async function readSmallFile(path: string): Promise<Buffer | undefined> {
  const bytes = await buffer(createReadStream(path, { end: MAX_BYTES }));
  return bytes.length > MAX_BYTES ? undefined : bytes;
}
