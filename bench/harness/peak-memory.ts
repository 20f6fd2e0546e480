import { readFileSync, writeFileSync } from "node:fs";
import { systemErrorCode } from "@cairn/kv";

const MEGABYTE = 1_000_000;

/** Returns a process's peak resident memory in MB. Without /proc, returns the peak of this process. */
export function peakMemory(pid: number | "self" = "self"): number {
  return statusField(pid, "VmHWM") ?? (process.resourceUsage().maxRSS * 1024) / MEGABYTE;
}

/**
 * Resets this process's peak, so that {@link peakMemory} covers only the time from now on. Returns the resident memory
 * in MB.
 */
export function resetPeakMemory(): number {
  try {
    writeFileSync("/proc/self/clear_refs", "5");
  } catch (error) {
    // Without /proc, the peak covers the whole life of the process, so it is never too low.
    if (systemErrorCode(error) === undefined) throw error;
  }
  return statusField("self", "VmRSS") ?? process.memoryUsage.rss() / MEGABYTE;
}

const SAMPLE_EVERY_MS = 50;

/** The largest resident memory of this process that is not a mapped file, in samples at short intervals. */
export class AnonymousMemory {
  #peak = 0;
  readonly #timer = setInterval(() => this.#sample(), SAMPLE_EVERY_MS).unref();

  static begin(): AnonymousMemory {
    return new AnonymousMemory();
  }

  /** Ends sampling, and returns the peak in MB. Without /proc, mapped files are included. */
  end(): number {
    clearInterval(this.#timer);
    this.#sample();
    return this.#peak;
  }

  #sample(): void {
    const now = statusField("self", "RssAnon") ?? process.memoryUsage.rss() / MEGABYTE;
    this.#peak = Math.max(this.#peak, now);
  }
}

function statusField(pid: number | "self", field: string): number | undefined {
  try {
    const kilobytes = new RegExp(`^${field}:\\s+(\\d+) kB`, "m").exec(
      readFileSync(`/proc/${pid}/status`, "utf8"),
    )?.[1];
    return kilobytes === undefined ? undefined : (Number(kilobytes) * 1024) / MEGABYTE;
  } catch (error) {
    if (systemErrorCode(error) === "ENOENT") return undefined;
    throw error;
  }
}
