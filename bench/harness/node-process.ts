import { spawn } from "node:child_process";
import { once } from "node:events";
import { open, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import type { NodeStatus } from "@cairn/node";
import { freePort } from "@cairn/node/testing";
import { type NodeChoice, nodeConfig } from "../data/node-config.ts";
import { touchPages } from "./command.ts";
import { cleanEnvironment } from "./child-step.ts";
import { peakMemory } from "./peak-memory.ts";
import type { Figures } from "./figures.ts";

// Polls often enough to measure the time to about 2 %, but not so often that responding slows the node down.
const POLL_SHARE = 0.02;
const MAX_POLL_MS = 100;

/** Starts `cairn start` as a process, measures until GET /health/ready returns 200, and stops it. */
export async function joinAsProcess(
  choice: Omit<NodeChoice, "port"> & { readonly documents: number },
): Promise<Figures> {
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const config = join(choice.dir, "cairn.json");
  const logPath = join(choice.dir, "node.log");
  await writeFile(config, JSON.stringify(nodeConfig({ ...choice, port })));
  const output = await open(logPath, "w");
  const command = fileURLToPath(new URL("./cli/main.js", import.meta.resolve("@cairn/node")));
  await touchPages();
  const begin = performance.now();
  const child = spawn(process.execPath, [command, "start", "-f", config], {
    stdio: ["ignore", output.fd, output.fd],
    env: cleanEnvironment(),
    cwd: choice.dir,
  });
  const exited = once(child, "exit");
  try {
    while (!(await isReady(url))) {
      if (child.exitCode !== null || child.pid === undefined)
        throw new Error(`cairn start exited: ${await readFile(logPath, "utf8")}`);
      await delay(Math.min(MAX_POLL_MS, (performance.now() - begin) * POLL_SHARE));
    }
    const seconds = (performance.now() - begin) / 1000;
    const peak = peakMemory(child.pid);
    const { index } = (await (await fetch(`${url}/status`)).json()) as NodeStatus;
    if (index.documents !== choice.documents)
      throw new Error(`the node has ${index.documents} documents instead of ${choice.documents}`);
    return { s: seconds, "peak MB": peak };
  } finally {
    child.kill("SIGTERM");
    await exited;
    await output.close();
  }
}

async function isReady(url: string): Promise<boolean> {
  try {
    const response = await fetch(`${url}/health/ready`);
    await response.arrayBuffer();
    return response.ok;
  } catch (error) {
    // fetch throws a TypeError if no process listens yet.
    if (error instanceof TypeError) return false;
    throw error;
  }
}
