import { createHash } from "node:crypto";
import type { SegmentName } from "../../../src/backup/segments/segment-name.ts";
import type { Appended, SimulatedLog } from "./simulated-log.ts";

const NEWLINE = 0x0a;

/** Returns the messages that a segment's name promises, in order; undefined if they were never appended like this. */
export function promisedMessages(
  { first, last, end }: SegmentName,
  log: Pick<SimulatedLog, "find">,
): Appended[] | undefined {
  const messages: Appended[] = [];
  let message = log.find(last, end);
  for (; message !== undefined && message.position >= first; message = message.before) messages.push(message);
  return messages.length === last - first + 1 ? messages.toReversed() : undefined;
}

/**
 * Returns how the content of a segment differs from docs/internals/log-backup-format.md and from the messages that it
 * must hold; undefined if it does not. This function shares no code with the product, and compares every byte.
 */
export function faultOf(content: Buffer, messages: readonly Appended[]): string | undefined {
  const [first, last] = [messages[0], messages.at(-1)];
  if (first === undefined || last === undefined) return "it is empty";
  const headerEnd = content.indexOf(NEWLINE);
  const header = JSON.parse(content.toString("utf8", 0, headerEnd)) as Readonly<Record<string, unknown>>;
  let at = headerEnd + 1;
  for (const { position, time, nanoseconds, payload } of messages) {
    const below = String(nanoseconds).padStart(6, "0");
    const line = `${position} ${time}${below} ${payload.length}\n`;
    const payloadAt = at + line.length;
    at = payloadAt + payload.length + 1;
    const isRight =
      content.toString("latin1", payloadAt - line.length, payloadAt) === line &&
      content.subarray(payloadAt, at - 1).equals(payload) &&
      content[at - 1] === NEWLINE;
    if (!isRight) return `its message ${position} is not that of the log`;
  }
  const expected = {
    first: first.position,
    last: last.position,
    end: last.sha256,
    bytes: at - headerEnd - 1,
    codec: "none",
  };
  for (const [name, value] of Object.entries(expected))
    if (header[name] !== value) return `its header has ${name} ${String(header[name])}`;
  if (header["before"] !== null && header["before"] !== first.before?.sha256)
    return "its header has the wrong digest for the message before its first";
  const sha256 = createHash("sha256")
    .update(content.subarray(0, at + 1))
    .digest("hex");
  return content.toString("utf8", at) === `\n${sha256}\n` ? undefined : "its last line is wrong";
}
