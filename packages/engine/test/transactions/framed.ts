import { crc32 } from "node:zlib";
import { logTagOf } from "../../src/transactions/message-frame.ts";

/** Frames arbitrary bytes as a message (docs/internals/log-format.md), as any client that may publish can. */
export function framed(
  body: string | Uint8Array,
  {
    logId = "log-1",
    by,
    random = "0123456789abcdef",
    format = 1,
  }: { logId?: string; by?: string; random?: string; format?: number } = {},
): Uint8Array {
  const head = `${logTagOf(logId)} ${random}${by === undefined ? "" : ` ${by}`}\n`;
  const checked = Buffer.concat([Buffer.from(head), Buffer.from(body)]);
  const sum = format === 1 ? crc32(checked) : crc32(checked, crc32(String(format)));
  return Buffer.concat([Buffer.from(`cairn/${format} ${sum.toString(16).padStart(8, "0")} `), checked]);
}
