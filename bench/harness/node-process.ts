import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, open, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import type { NodeStatus } from "@cairn/node";
import { freePort } from "@cairn/log-nats/testing";
import { type FilledLog, type NodeChoice, nodeConfig } from "../data/node-config.ts";
import type { Workspace } from "../data/workspace.ts";
import { touchPages } from "./command.ts";
import { cleanEnvironment } from "./child-step.ts";
import { peakMemory } from "./peak-memory.ts";
import type { Figures } from "./figures.ts";

/** The file of the command, as the build bundles it. */
export const COMMAND = fileURLToPath(new URL("../../../packages/cli/dist/bundle/main.js", import.meta.url));

// The polling is frequent enough to measure the time to about 2 %, but not so frequent that the responses slow the node
// down.
const POLL_SHARE = 0.02;
const MAX_POLL_MS = 100;

/** A process that serves HTTP. */
export interface ServerProcess {
  readonly port: number;
  readonly pid: number;
  /** The time from the start until the first successful response (s). */
  readonly startSeconds: number;
  /** The time until `firstRead` succeeded (s), if it was asked for. */
  readonly firstReadSeconds?: number;
  stop(): Promise<void>;
}

/** What is measured of a node that joins. */
interface JoinChoice extends NodeChoice {
  /** The number of documents that the node has in the end. */
  readonly documents: number;
  /** The path of a read that is repeated until it succeeds, before the node is ready. */
  readonly firstRead?: string;
}

/**
 * Runs `cairn start` as a process, measures the time until GET /health/ready returns 200 and, before that, until
 * `firstRead` does, and stops the process.
 */
export async function joinAsProcess(choice: JoinChoice): Promise<Figures> {
  await touchPages();
  const node = await startNodeProcess(choice, choice.firstRead);
  try {
    const peak = peakMemory(node.pid);
    const { index } = (await (await fetch(`http://127.0.0.1:${node.port}/status`)).json()) as NodeStatus;
    if (index.documents !== choice.documents)
      throw new Error(`the node has ${index.documents} documents instead of ${choice.documents}`);
    const { startSeconds: s, firstReadSeconds } = node;
    return {
      ...(firstReadSeconds === undefined ? {} : { "first read, s": firstReadSeconds }),
      s,
      "peak MB": peak,
    };
  } finally {
    await node.stop();
  }
}

/**
 * Runs `cairn start` in `dir`, which must exist, and waits until `firstRead` succeeds, if it is given, and until the node
 * is ready.
 */
export async function startNodeProcess(choice: NodeChoice, firstRead?: string): Promise<ServerProcess> {
  const { port = await freePort() } = choice;
  const config = join(choice.dir, "cairn.json");
  await writeFile(config, JSON.stringify(nodeConfig({ ...choice, port })));
  const args = [COMMAND, "start", "-f", config];
  const place = { dir: choice.dir, port, path: "/health/ready" };
  return await startServer(process.execPath, args, { ...place, ...(firstRead && { firstRead }) });
}

/** Runs `cairn start` in a new folder until the workspace is closed. Without `log`, the node has its own log. */
export async function startNodeIn(
  workspace: Workspace,
  name: string,
  log?: FilledLog,
): Promise<ServerProcess & { readonly dir: string }> {
  const dir = workspace.fresh(name);
  await mkdir(dir);
  const node = await startNodeProcess({ dir, ...(log === undefined ? {} : { log }) });
  workspace.atClose(() => node.stop());
  return { ...node, dir };
}

interface ServerPlace {
  readonly dir: string;
  readonly port: number;
  readonly path: string;
  readonly firstRead?: string;
  /** Environment variables beside those of this process. */
  readonly env?: NodeJS.ProcessEnv;
}

/**
 * Starts a program, and waits until GET `firstRead` succeeds, if it is given, and then `path`. Its output goes to a file
 * in `dir`.
 */
export async function startServer(
  program: string,
  args: readonly string[],
  { dir, port, path, firstRead, env }: ServerPlace,
): Promise<ServerProcess> {
  const logPath = join(dir, "output.log");
  const output = await open(logPath, "w");
  const begin = performance.now();
  const child = spawn(program, args, {
    stdio: ["ignore", output.fd, output.fd],
    env: { ...cleanEnvironment(), ...env },
    cwd: dir,
  });
  const exited = once(child, "exit");
  const stop = async (): Promise<void> => {
    child.kill("SIGTERM");
    await exited;
    await output.close();
  };
  const secondsUntil = async (wanted: string): Promise<number> => {
    while (!(await succeeds(`http://127.0.0.1:${port}${wanted}`))) {
      if (child.exitCode !== null || child.pid === undefined) {
        await output.close();
        throw new Error(`${program} exited: ${await readFile(logPath, "utf8")}`);
      }
      await delay(Math.min(MAX_POLL_MS, (performance.now() - begin) * POLL_SHARE));
    }
    return (performance.now() - begin) / 1000;
  };
  const read = firstRead === undefined ? {} : { firstReadSeconds: await secondsUntil(firstRead) };
  return { port, pid: child.pid ?? 0, ...read, startSeconds: await secondsUntil(path), stop };
}

async function succeeds(url: string): Promise<boolean> {
  try {
    const response = await fetch(url);
    await response.arrayBuffer();
    return response.ok;
  } catch (error) {
    // fetch throws a TypeError if no process listens yet.
    if (error instanceof TypeError) return false;
    throw error;
  }
}
