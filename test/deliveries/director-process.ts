import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import path from "node:path";
import { createInterface } from "node:readline";
import { ROOT } from "@cairn/test-support/cairn-process";

const PROGRAM = path.join(ROOT, "test/dist/deliveries/task-director.js");

/** What directors in processes of their own have done. */
export class Handlings {
  /** How often each entry was handed out. */
  readonly counts = new Map<string, number>();
  /** What was reported: the code, the entry, and the message. */
  readonly reports: string[] = [];

  note(line: string): void {
    const [, word, rest = ""] = /^(\S+) (.*)$/.exec(line) ?? [];
    if (word === "handles") this.counts.set(rest, (this.counts.get(rest) ?? 0) + 1);
    else if (word === "reports") this.reports.push(rest);
  }
}

/** A director in a process of its own. */
export class DirectorProcess {
  readonly exited: Promise<unknown>;
  readonly #child: ChildProcess;

  constructor(url: string, queue: string, name: string, concurrency: number, handlings: Handlings) {
    const args = [PROGRAM, url, queue, name, String(concurrency)];
    const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
    createInterface({ input: child.stdout }).on("line", (line) => handlings.note(line));
    this.#child = child;
    this.exited = once(child, "close");
  }

  /** Ends the process with SIGTERM, and returns its exit code. */
  async stop(): Promise<number | null> {
    this.#child.kill("SIGTERM");
    await this.exited;
    return this.#child.exitCode;
  }

  async kill(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.exited;
  }
}
