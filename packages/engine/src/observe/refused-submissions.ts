import { systemClock, type CairnError, type ErrorCode, isCairnError } from "@cairn/kv";
import type { NodeStatus } from "@cairn/client";
import { isoTime } from "@cairn/text";

const LOG_REFUSALS = new Set<ErrorCode>(["LOG_FULL", "DISK_FULL", "LOG_UNREACHABLE"]);

/** Whether the log accepts transactions. A log that refuses them can still be read: nothing else alerts an operator. */
export class RefusedSubmissions {
  /** Called when the refusals begin, when their reason changes, and when they end. */
  onChange: () => void = () => {};
  #error: CairnError | undefined;
  #since = 0;
  #lastAt = 0;

  /** Returns why the log refused the last transaction; null if it accepted it. */
  get refused(): NodeStatus["log"]["refused"] {
    if (this.#error === undefined) return null;
    const { code, message, hint = null } = this.#error;
    return { since: isoTime(this.#since), code, message, hint };
  }

  /** Returns the time since the last refusal (ms); undefined if the log accepted the last transaction. */
  get quietMs(): number | undefined {
    return this.#error === undefined ? undefined : systemClock.now() - this.#lastAt;
  }

  async observe<T>(submission: Promise<T>): Promise<T> {
    try {
      const stored = await submission;
      this.#note(undefined);
      return stored;
    } catch (error) {
      if (isCairnError(error) && LOG_REFUSALS.has(error.code)) this.#note(error);
      throw error;
    }
  }

  #note(error: CairnError | undefined): void {
    const known = this.#error;
    this.#error = error;
    if (error !== undefined) this.#lastAt = systemClock.now();
    if (known === undefined) this.#since = this.#lastAt;
    if (known?.code !== error?.code) this.onChange();
  }
}
