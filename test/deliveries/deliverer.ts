import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { constants } from "node:os";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { ROOT } from "@cairn/test-support/cairn-process";

const PROGRAM = path.join(ROOT, "examples/deliveries/dist/src/main.js");
const BUSY_FETCH = path.join(ROOT, "test/dist/deliveries/busy-fetch.js");

/** A process of the example that delivers what is in the queue. */
export class Deliverer {
  readonly #child: ChildProcess;
  readonly #exited: Promise<unknown>;

  /** Some deliveries keep the thread busy for up to `busyMs`. */
  constructor(name: string, urls: readonly string[], busyMs: number) {
    const preload = busyMs === 0 ? [] : ["--import", BUSY_FETCH];
    this.#child = spawn(process.execPath, [...preload, PROGRAM, "deliver", name], {
      env: { ...process.env, CAIRN_URLS: urls.join(), CAIRN_BUSY_MS: String(busyMs) },
      // Each failed delivery is a line of the output.
      stdio: ["ignore", "ignore", "inherit"],
    });
    this.#exited = once(this.#child, "exit");
  }

  /** Kills the process with SIGKILL, as in a crash, even if it is frozen. */
  async kill(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#exited;
  }

  /** Stops the process with SIGSTOP, and lets it continue after `ms`. */
  async freeze(ms: number): Promise<void> {
    this.#child.kill("SIGSTOP");
    await delay(ms);
    this.#child.kill("SIGCONT");
  }

  /** Ends the process with SIGTERM, which it handles once it has begun, and returns its exit code. */
  async stop(): Promise<number | null> {
    while (this.#child.exitCode === null && !(await this.#handlesSigterm())) await delay(50);
    this.#child.kill("SIGTERM");
    await this.#exited;
    return this.#child.exitCode;
  }

  async #handlesSigterm(): Promise<boolean> {
    const status = await readFile(`/proc/${this.#child.pid}/status`, "utf8");
    const caught = BigInt(`0x${/^SigCgt:\s*([0-9a-f]+)/m.exec(status)?.[1] ?? "0"}`);
    return (caught & (1n << BigInt(constants.signals.SIGTERM - 1))) !== 0n;
  }
}
