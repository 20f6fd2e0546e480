import type { LogMessage, TxLog } from "../log/tx-log.ts";
import { wrapped } from "@cairn/text";

const AT_ONCE = 5_000;
const NOTHING = new Uint8Array();

/**
 * Returns a log without gaps. In the place of each message that `log` lacks inside it, there is the one that `find` returns
 * or, if none, one without content: every transaction after it keeps its id, and it changes nothing itself.
 */
export function overGaps(log: TxLog, find: (position: number) => Promise<LogMessage | undefined>): TxLog {
  // `fetch` is not replaced: a checkpoint that ends with a missing message must be judged as by every other caller.
  const filled = async (position: number): Promise<LogMessage | undefined> => {
    const held = await log.fetch(position);
    if (held !== undefined) return held;
    const { first, last } = await log.bounds();
    if (position < first || position > last) return undefined;
    return (await find(position)) ?? { position, time: 0, payload: NOTHING };
  };
  return wrapped<TxLog>(log, {
    async *read(from, options) {
      // A reading begins with the message that the reader has.
      let next = from + 1;
      let whole: LogMessage[] = [];
      for await (const messages of log.read(from, options)) {
        for (const message of messages) {
          for (; next < message.position; next += 1) {
            const one = await filled(next);
            if (one !== undefined) whole.push(one);
            if (whole.length >= AT_ONCE) yield whole.splice(0);
          }
          whole.push(message);
          next = message.position + 1;
        }
        yield whole;
        whole = [];
      }
    },
  });
}
