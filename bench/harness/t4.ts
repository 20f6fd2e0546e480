import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { freePort } from "@cairn/log-nats/testing";
import type { BucketPlace } from "../data/bucket.ts";
import type { Workspace } from "../data/workspace.ts";
import { type ServerProcess, startServer } from "./node-process.ts";
import type { YcsbServer } from "./ycsb.ts";

const VERSION = "v1.1.17";
const FOLDER = fileURLToPath(new URL(`../../node_modules/.cache/t4-${VERSION}`, import.meta.url));
const POLL_MS = 2;

/** T4 saves a checkpoint after each start, and then at this interval, unless it is negative. */
export const NO_CHECKPOINTS = "--checkpoint-interval-min=-1";
/** A write is acknowledged once it is flushed to the local disk, and uploaded later, as by Cairn. */
export const LATE_UPLOAD = "--wal-sync-upload=false";

/** The data of a T4 node, and its options. */
export interface T4Choice {
  /** The folder of the node, which must exist. */
  readonly dir: string;
  /** The place of its log and its checkpoints. Without it, they are only in the folder. */
  readonly place?: BucketPlace;
  readonly flags?: readonly string[];
}

/** A T4 node with an interface for etcd's clients. Its `startSeconds` end just before it accepts requests. */
export interface T4Process extends ServerProcess {
  readonly client: YcsbServer;
  /** Waits until the node has saved `count` checkpoints since its start. */
  checkpoints(count: number): Promise<void>;
}

/** Returns the path of T4, built from its Go module. */
export async function buildT4(workspace: Workspace): Promise<string> {
  const program = join(FOLDER, "t4");
  if (existsSync(program)) return program;
  workspace.onProgress("building T4 from its Go module");
  await mkdir(FOLDER, { recursive: true });
  const env = { ...process.env, GOBIN: FOLDER };
  await promisify(execFile)("go", ["install", `github.com/t4db/t4/cmd/t4@${VERSION}`], { env });
  return program;
}

/** Starts a node, and waits until it has all of its data. */
export async function startT4(program: string, { dir, place, flags = [] }: T4Choice): Promise<T4Process> {
  const [port, metricsPort] = [await freePort(), await freePort()];
  const args = Object.entries({
    "--data-dir": join(dir, "data"),
    "--listen": `127.0.0.1:${port}`,
    "--metrics-addr": `127.0.0.1:${metricsPort}`,
    "--node-id": "bench",
    ...(place === undefined
      ? {}
      : {
          "--s3-bucket": place.bucket,
          "--s3-prefix": `${place.prefix}/`,
          "--s3-endpoint": place.endpoint,
          "--s3-region": place.region,
          "--s3-access-key-id": place.credentials.accessKeyId,
          "--s3-secret-access-key": place.credentials.secretAccessKey,
        }),
  }).flat();
  // What T4 copies for a checkpoint is in the temporary folder, where it stays if the process is killed.
  const metrics = { dir, port: metricsPort, path: "/readyz", env: { TMPDIR: dir } };
  const server = await startServer(program, ["run", ...args, ...flags], metrics);
  return {
    ...server,
    client: { kind: "etcd", port, pid: server.pid },
    checkpoints: async (count) => {
      while ((await savedCheckpoints(dir)) < count) await delay(POLL_MS);
    },
  };
}

async function savedCheckpoints(dir: string): Promise<number> {
  return (await readFile(join(dir, "output.log"), "utf8")).split("checkpoint written").length - 1;
}
