import type { LogMessage, TxLog } from "../../src/log/tx-log.ts";
import type { Gate } from "./gate.ts";
import { wrapped } from "@cairn/text";

/** Returns a log whose messages pass through a gate: all of them, or those after a position. */
export function readThrough(
  log: TxLog,
  gate: Gate,
  isBehind: (messages: readonly LogMessage[]) => boolean = () => true,
): TxLog {
  const read: TxLog["read"] = async function* (from, options) {
    for await (const messages of log.read(from, options)) {
      if (isBehind(messages)) await gate.passed();
      yield messages;
    }
  };
  return wrapped<TxLog>(log, { read });
}
