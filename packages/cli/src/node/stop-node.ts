import { wait } from "@cairn/kv";
import { once } from "node:events";
import type { NodeApi } from "@cairn/engine";
import { ENDING_SIGNALS } from "../terminal/interrupt.ts";
import type { Terminal } from "../terminal/terminal.ts";

/** The options for {@link stopAtSignal}. */
export interface SignalStopOptions {
  readonly onSignal: (signal: NodeJS.Signals) => void;
  /** Called when the node did not stop in time, or a second signal forced it. */
  readonly onForced: (sentence: string) => void;
  /** The time within which the node must stop (ms). Defaults to 10,000. */
  readonly limitMs?: number;
  /** For how long a repeated signal is ignored (ms, default 1,000): a group or a wrapper may cause a second one. */
  readonly repeatMs?: number;
  readonly now?: () => number;
}

/** Listens for signals at once. The returned function waits for one, stops the node, and returns the exit code. */
export function stopAtSignal(
  terminal: Terminal,
  options: SignalStopOptions,
): (node: NodeApi) => Promise<number> {
  const { limitMs = 10_000, repeatMs = 1000, now = Date.now } = options;
  const begun = new AbortController();
  const forced = new AbortController();
  let first: number | undefined;
  const forget = terminal.onSignal(ENDING_SIGNALS, (signal) => {
    if (first === undefined) {
      first = now();
      options.onSignal(signal);
      begun.abort();
    } else if (now() - first > repeatMs)
      forced.abort(`A second ${signal} arrived before the node had stopped.`);
  });

  return async (node) => {
    await aborted(begun.signal);
    const done = new AbortController();
    try {
      const cut = await Promise.race([
        node.close().then(() => undefined),
        aborted(forced.signal),
        wait(limitMs, done.signal).then(() => tooLong(node, limitMs)),
      ]);
      if (cut === undefined) return 0;
      options.onForced(cut);
      return 1;
    } finally {
      done.abort();
      forget();
    }
  };
}

async function aborted(signal: AbortSignal): Promise<string> {
  if (!signal.aborted) await once(signal, "abort");
  return String(signal.reason);
}

/** Describes the work that is known to be still running. */
async function tooLong(node: NodeApi, limitMs: number): Promise<string> {
  const saving = await Promise.race([
    node.status().then(
      ({ checkpoints }) => checkpoints.running?.step,
      () => undefined,
    ),
    wait(200).then(() => undefined),
  ]);
  const what =
    saving === undefined
      ? `these resources are still open: ${[...new Set(process.getActiveResourcesInfo())].join(", ")}`
      : `a checkpoint is being saved (${saving})`;
  return `The node did not stop within ${limitMs / 1000} s: ${what}.`;
}
