import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { freePort, type NatsTestServer, startNatsServer } from "@cairn/log-nats/testing";
import { vi } from "vitest";

const CAIRN = fileURLToPath(new URL("../../../../packages/cli/dist/bundle/main.js", import.meta.url));

/** Three Cairn node processes on one NATS server. A restarted node keeps its address. */
export class ThreeNodes {
  readonly urls: readonly string[];
  readonly nats: NatsTestServer;
  readonly #folder: string;
  readonly #processes = new Map<number, ChildProcess>();

  private constructor(folder: string, nats: NatsTestServer, urls: readonly string[]) {
    [this.#folder, this.nats, this.urls] = [folder, nats, urls];
  }

  static async open(): Promise<ThreeNodes> {
    const folder = await mkdtemp(path.join(tmpdir(), "cairn-orchestrator-"));
    const nats = await startNatsServer({ storeDir: path.join(folder, "nats") });
    const urls: string[] = [];
    for (const _ of [0, 1, 2]) urls.push(`http://127.0.0.1:${await freePort()}`);
    const nodes = new ThreeNodes(folder, nats, urls);
    for (const number of [0, 1, 2]) nodes.start(number);
    try {
      await nodes.ready();
    } catch (error) {
      await nodes.close();
      throw error;
    }
    return nodes;
  }

  /** Returns the addresses, starting with the address of node `number`. */
  from(number: number): string[] {
    return [...this.urls.slice(number), ...this.urls.slice(0, number)];
  }

  start(number: number): void {
    if (this.#processes.has(number)) return;
    const env = {
      ...process.env,
      NATS_URL: this.nats.url,
      CAIRN_DIR: this.#folder,
      CAIRN_NODE_ID: `cairn-${number}`,
      CAIRN_HTTP_PORT: new URL(this.urls[number] ?? "").port,
    };
    const child = spawn(process.execPath, [CAIRN, "start"], { env, stdio: "ignore" });
    this.#processes.set(number, child);
  }

  /** Kills a node with SIGKILL, like a crash. */
  async kill(number: number): Promise<void> {
    const child = this.#processes.get(number);
    if (child === undefined) return;
    this.#processes.delete(number);
    child.kill("SIGKILL");
    await once(child, "close");
  }

  /** Waits until all nodes are ready. */
  async ready(): Promise<void> {
    for (const url of this.urls) await vi.waitFor(() => expectReady(url), { timeout: 30_000, interval: 50 });
  }

  async close(): Promise<void> {
    await Promise.all([0, 1, 2].map((number) => this.kill(number)));
    await this.nats.close();
    await rm(this.#folder, { recursive: true });
  }
}

async function expectReady(url: string): Promise<void> {
  const answer = await fetch(`${url}/health/ready`);
  if (!answer.ok) throw new Error(`The node at ${url} is not ready: ${await answer.text()}`);
}
