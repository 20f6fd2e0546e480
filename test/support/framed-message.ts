import { createHash } from "node:crypto";
import { crc32 } from "node:zlib";

/** Frames `body` as a valid message of a log, as docs/internals/log-format.md describes it. */
export function framed(logId: string, body: string | Uint8Array): Uint8Array {
  const tag = createHash("sha256").update(logId).digest("hex").slice(0, 16);
  const checked = Buffer.concat([Buffer.from(`${tag} 00112233445566ff\n`), Buffer.from(body)]);
  return Buffer.concat([Buffer.from(`cairn/1 ${crc32(checked).toString(16).padStart(8, "0")} `), checked]);
}
