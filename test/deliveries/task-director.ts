// A director whose entries say what its handler does: node task-director.js URL QUEUE NAME CONCURRENCY
import { writeSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { CairnClient } from "@cairn/client";

/** An entry: how long its handler waits, how long it then keeps the thread busy (ms), and whether it ends its process. */
export type Task = {
  readonly state: string;
  readonly waitMs?: number;
  readonly busyMs?: number;
  readonly kills?: boolean;
};

const [, , url = "", queue = "", as = "", concurrency = ""] = process.argv;

/** Prints a line at once, even if the process is killed next. */
function print(...words: readonly string[]): void {
  writeSync(1, `${words.join(" ")}\n`);
}

const director = new CairnClient({ urls: url }).direct<Task>(queue, {
  as,
  concurrency: Number(concurrency),
  // Tests look at finished entries.
  drainAt: false,
  handle: async ({ name, document }) => {
    print("handles", name);
    if (document.waitMs !== undefined) await delay(document.waitMs);
    if (document.kills === true) process.kill(process.pid, "SIGKILL");
    const end = performance.now() + (document.busyMs ?? 0);
    while (performance.now() < end);
  },
  onError: (error, entry) =>
    print("reports", "code" in error ? String(error.code) : "-", entry?.name ?? "-", error.message),
});
// It ends with the test that started it.
process.stdin.once("end", () => process.exit(1));
process.stdin.resume().unref();
process.once("SIGTERM", () => void director.stop());
await director.done;
