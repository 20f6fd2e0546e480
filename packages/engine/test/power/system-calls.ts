import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";

/**
 * A system call that succeeded. Calls overlap, so `begun` and `done` are the lines of the trace at which the call began
 * and returned.
 */
export interface SystemCall {
  readonly name: string;
  readonly args: readonly string[];
  readonly result: number;
  readonly begun: number;
  readonly done: number;
}

const TRACED =
  "openat,open,creat,close,write,pwrite64,writev,pwritev,sendfile,copy_file_range,ftruncate,fsync,fdatasync,sync_file_range," +
  "rename,renameat,renameat2,link,linkat,unlink,unlinkat,mkdir,mkdirat,rmdir,lseek,dup,dup2,dup3";

/** Runs a program under strace and returns the calls with which it changed files. */
export async function recordCalls(program: readonly string[], traceFile: string): Promise<SystemCall[]> {
  const strace = ["-f", "--seccomp-bpf", "-xx", "-s", "100000000", "-e", `trace=${TRACED}`, "-o", traceFile];
  const child = spawn("strace", [...strace, ...program], { stdio: ["ignore", "ignore", "inherit"] });
  const [code] = (await once(child, "exit")) as [number | null];
  if (code !== 0) throw new Error(`the traced program exited with code ${code}`);
  return parseCalls(await readFile(traceFile, "latin1"));
}

/** Returns the calls in the output of strace (`-f -xx`) that succeeded, in the order in which they returned. */
export function parseCalls(trace: string): SystemCall[] {
  const entered = new Map<string, { readonly text: string; readonly begun: number }>();
  const calls: SystemCall[] = [];
  for (const [line, entry] of trace.split("\n").entries()) {
    const [, thread = "", rest = ""] = /^(\d+) +(.*)$/.exec(entry) ?? [];
    const unfinished = " <unfinished ...>";
    if (rest.endsWith(unfinished)) {
      entered.set(thread, { text: rest.slice(0, -unfinished.length), begun: line });
      continue;
    }
    const resumed = /^<\.\.\. \w+ resumed>(.*)$/.exec(rest);
    const before = resumed === null ? undefined : entered.get(thread);
    const text = `${before?.text ?? ""}${resumed?.[1] ?? rest}`;
    const end = text.lastIndexOf(") ");
    const result = Number(/^\) += (\d+)/.exec(text.slice(end))?.[1] ?? Number.NaN);
    const open = text.indexOf("(");
    if (open < 1 || Number.isNaN(result)) continue;
    const args = text.slice(open + 1, end).split(", ");
    calls.push({ name: text.slice(0, open), args, result, begun: before?.begun ?? line, done: line });
  }
  return calls;
}

/** Returns the bytes of a string as strace prints it with `-xx`. */
export function bytesOf(printed: string | undefined): Buffer {
  return Buffer.from((printed ?? "").replaceAll(/[^0-9a-f]/g, ""), "hex");
}
