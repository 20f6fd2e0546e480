import { execFile } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { Workspace } from "../data/workspace.ts";
import { run, succeeds } from "./command.ts";

const SOURCE = fileURLToPath(new URL("../../ycsb/", import.meta.url));

/** A server, in the words of the clients in `ycsb/`. */
export interface YcsbServer {
  readonly kind: "cairn" | "etcd" | "redis";
  readonly port: number;
  readonly pid: number;
}

/** What the clients measured. The percentiles are those of writes (ms). */
export interface YcsbFigures {
  readonly operations: number;
  /** The number of operations that failed and were tolerated. */
  readonly failed: number;
  readonly seconds: number;
  readonly scans: number;
  /** The number of documents that scans returned. */
  readonly scanned: number;
  readonly writes: number;
  readonly writtenBytes: number;
  readonly p50: number;
  readonly p99: number;
}

/** Runs the clients with options of `ycsb/main.go`. */
export type Ycsb = (
  server: YcsbServer,
  options: Readonly<Record<string, string | number | boolean>>,
) => Promise<YcsbFigures>;

/** Builds the clients, which are written in Go, as etcd's own client is. */
export async function buildYcsb(workspace: Workspace): Promise<Ycsb> {
  if (!succeeds("go", ["version"]))
    throw new Error("there is no Go on the PATH, with which the clients of this row are built");
  const program = join(workspace.dir, "ycsb");
  await run("go", ["-C", SOURCE, "build", "-o", program, "."]);
  return async ({ kind, port }, options) => {
    const args = Object.entries({ server: kind, at: `127.0.0.1:${port}`, ...options });
    const { stdout } = await promisify(execFile)(
      program,
      args.map(([name, value]) => `-${name}=${value}`),
    );
    return JSON.parse(stdout) as YcsbFigures;
  };
}
