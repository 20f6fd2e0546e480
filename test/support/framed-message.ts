import { createHash } from "node:crypto";
import { crc32 } from "node:zlib";

/** A message with everything right in its first line, as docs/log-format.md has it. */
export function framed(logId: string, body: string | Uint8Array): Uint8Array {
  const tag = createHash("sha256").update(logId).digest("hex").slice(0, 16);
  const checked = Buffer.concat([Buffer.from(`${tag} 00112233445566ff\n`), Buffer.from(body)]);
  return Buffer.concat([Buffer.from(`cairn/2 ${crc32(checked).toString(16).padStart(8, "0")} `), checked]);
}
