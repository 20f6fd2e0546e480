import { openSync, readSync, writeSync } from "node:fs";

/** Groups of system calls, numbered as in failing-calls.c. */
export const GROUPS = {
  open: 1,
  openToWrite: 2,
  names: 4,
  look: 8,
  read: 16,
  write: 32,
  sync: 64,
  map: 128,
} as const;

const ALL = Object.values(GROUPS).reduce((sum, group) => sum + group, 0);
const WRITING = GROUPS.openToWrite + GROUPS.names + GROUPS.write + GROUPS.sync;
/** All groups of calls that open a file. */
export const OPENING = GROUPS.open + GROUPS.openToWrite;

/** Each error of the table (system-errors.ts) with its number on Linux, and the calls that may return it. */
export const FAULTS: Readonly<Record<string, { readonly errno: number; readonly groups: number }>> = {
  EMFILE: { errno: 24, groups: OPENING },
  ENFILE: { errno: 23, groups: OPENING },
  ENOMEM: { errno: 12, groups: ALL },
  EAGAIN: { errno: 11, groups: OPENING + GROUPS.read + GROUPS.write + GROUPS.map },
  ENOSPC: { errno: 28, groups: WRITING },
  EDQUOT: { errno: 122, groups: WRITING },
  EFBIG: { errno: 27, groups: GROUPS.write },
  EACCES: { errno: 13, groups: OPENING + GROUPS.names + GROUPS.look },
  EPERM: { errno: 1, groups: GROUPS.openToWrite + GROUPS.names },
  EROFS: { errno: 30, groups: GROUPS.openToWrite + GROUPS.names + GROUPS.write },
  EIO: { errno: 5, groups: ALL },
};

const FIELDS = 8;

/** The file that controls which calls fail in a process with failing-calls.so. */
export class FaultControl {
  readonly #file: number;

  constructor(path: string) {
    this.#file = openSync(path, "r+");
  }

  /**
   * Makes the next `after` calls pass and the following `count` calls fail. If `count` is -1, all following calls fail.
   */
  arm(fault: { readonly errno: number; readonly groups: number }, after: number, count: number): void {
    this.#write([0, fault.errno, after, count, fault.groups, 0, 0, 0]);
    this.#write([1]);
  }

  /** Returns the number of calls that were seen, the number that failed, and the group of the last call that failed. */
  disarm(): { readonly seen: number; readonly failed: number; readonly group: string } {
    this.#write([0]);
    const bytes = Buffer.alloc(FIELDS * 4);
    readSync(this.#file, bytes, 0, bytes.length, 0);
    const last = bytes.readInt32LE(28);
    const group = Object.entries(GROUPS).find(([, number]) => number === last)?.[0] ?? "none";
    return { seen: bytes.readInt32LE(20), failed: bytes.readInt32LE(24), group };
  }

  #write(fields: readonly number[]): void {
    const bytes = Buffer.alloc(fields.length * 4);
    for (const [index, field] of fields.entries()) bytes.writeInt32LE(field, index * 4);
    writeSync(this.#file, bytes, 0, bytes.length, 0);
  }
}
