import { readFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";

const TICKS_PER_SECOND = 100;
/** The fields of /proc/PID/stat with the processor time of all threads, counted from the one after the name. */
const [USER_TIME, SYSTEM_TIME] = [11, 12];

/** Returns the processor time that all threads of a process have used (s). It needs Linux. */
export function processorSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[USER_TIME]) + Number(fields[SYSTEM_TIME])) / TICKS_PER_SECOND;
}

/** Returns the bytes that a process has written to the disk. It needs Linux. */
export function writtenBytes(pid: number): number {
  return Number(/^write_bytes: (\d+)$/m.exec(readFileSync(`/proc/${pid}/io`, "utf8"))?.[1]);
}

const QUIET_MS = 1_000;
const QUIET_BYTES = 1_000_000;

/** Waits until a process hardly writes any more, and returns {@link writtenBytes}. */
export async function quietWrittenBytes(pid: number): Promise<number> {
  for (let before = -Infinity; ;) {
    const now = writtenBytes(pid);
    if (now - before < QUIET_BYTES) return now;
    before = now;
    await delay(QUIET_MS);
  }
}
