import { wait } from "@cairn/kv";
import { ENDING_SIGNALS } from "./interrupt.ts";
import { type Terminal, write } from "./terminal.ts";

const CLEAR = "\u001b[2J";
const HOME = "\u001b[H";
const END_OF_LINE = "\u001b[K";
const END_OF_SCREEN = "\u001b[J";
/** Lines that are too long are cut, because a wrapped line would move those below it. */
const NO_WRAP = "\u001b[?7l";
const WRAP = "\u001b[?7h";

/** Draws the text that `next` returns onto the terminal, again after each interval, until a signal ends it. */
export async function redraw(
  terminal: Pick<Terminal, "stdout" | "onSignal">,
  intervalMs: number,
  next: (signal: AbortSignal) => Promise<string>,
): Promise<void> {
  const { stdout } = terminal;
  const stop = new AbortController();
  const { signal } = stop;
  const undo = terminal.onSignal(ENDING_SIGNALS, () => stop.abort());
  try {
    await write(stdout, CLEAR);
    while (!signal.aborted) {
      const lines = (await next(signal)).split("\n").slice(0, (stdout.rows ?? Infinity) - 1);
      await write(
        stdout,
        `${NO_WRAP}${HOME}${lines.map((line) => `${line}${END_OF_LINE}\n`).join("")}${END_OF_SCREEN}${WRAP}`,
      );
      await wait(intervalMs, signal);
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    undo();
  }
}
