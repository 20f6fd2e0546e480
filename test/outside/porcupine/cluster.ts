import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, open, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { CAIRN } from "@cairn/test-support/cairn-process";
import { MACHINES, type Network } from "./network.ts";

const READY_WITHIN_MS = 60_000;

/** A program that runs on each machine. */
export type Program = "nats" | "node";

/** A nats-server and a node on each machine of a network: one cluster of servers, and one log with three replicas. */
export class Cluster {
  readonly #network: Network;
  readonly #folder: string;
  readonly #running = new Map<string, ChildProcess>();

  constructor(network: Network, folder: string) {
    this.#network = network;
    this.#folder = folder;
  }

  url(machine: number): string {
    return `http://${this.#network.outer(machine)}:3000`;
  }

  /** Returns the address of a machine's nats-server. */
  natsUrl(machine: number): string {
    return `nats://${this.#network.inner(machine)}:4222`;
  }

  async start(): Promise<void> {
    for (let machine = 0; machine < MACHINES; machine += 1) await this.run(machine, "nats");
    for (let machine = 0; machine < MACHINES; machine += 1) await this.run(machine, "node");
    await this.ready();
  }

  /** Starts a program that is not running, or was killed. */
  async run(machine: number, program: Program): Promise<void> {
    const folder = join(this.#folder, `${program}-${machine}`);
    await mkdir(folder, { recursive: true });
    const command = program === "nats" ? this.#nats(machine, folder) : await this.#node(machine, folder);
    const args = ["netns", "exec", this.#network.namespace(machine), ...command];
    const output = await open(join(folder, "output"), "a");
    const child = spawn("ip", args, { stdio: ["ignore", output.fd, output.fd] });
    await output.close();
    this.#running.set(`${program}-${machine}`, child);
  }

  /** Sends a signal to a program. `ip` execs the program, so that the child's process id is the program's. */
  signal(machine: number, program: Program, signal: NodeJS.Signals): void {
    this.#running.get(`${program}-${machine}`)?.kill(signal);
  }

  async kill(machine: number, program: Program): Promise<void> {
    const child = this.#running.get(`${program}-${machine}`);
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, "exit");
    child.kill("SIGKILL");
    await exited;
  }

  /** Waits until each node serves a linearizable read. */
  async ready(): Promise<void> {
    const deadline = Date.now() + READY_WITHIN_MS;
    for (let machine = 0; machine < MACHINES; machine += 1) {
      while (!(await this.#answers(machine))) {
        if (Date.now() > deadline)
          throw new Error(`node ${machine} is not ready: ${await this.#status(machine)}`);
        await delay(50);
      }
    }
  }

  async close(): Promise<void> {
    for (let machine = 0; machine < MACHINES; machine += 1) {
      await this.kill(machine, "node");
      await this.kill(machine, "nats");
    }
  }

  async #answers(machine: number): Promise<boolean> {
    const url = `${this.url(machine)}/api/v1/buckets?linearizable=true&timeout=PT2S`;
    return await fetch(url, { signal: AbortSignal.timeout(3_000) }).then(
      async (answer) => {
        await answer.arrayBuffer();
        return answer.ok;
      },
      () => false,
    );
  }

  async #status(machine: number): Promise<string> {
    const signal = AbortSignal.timeout(3_000);
    return await fetch(`${this.url(machine)}/status`, { signal }).then((answer) => answer.text(), String);
  }

  #nats(machine: number, folder: string): string[] {
    const routes = Array.from({ length: MACHINES }, (_, n) => `nats://${this.#network.inner(n)}:6222`);
    const address = this.#network.inner(machine);
    const store = ["-a", address, "-p", "4222", "-js", "-sd", folder];
    const member = ["-n", `n${machine}`, "--cluster_name", "judged", "--cluster", `nats://${address}:6222`];
    return ["nats-server", ...store, ...member, "--routes", routes.join(",")];
  }

  async #node(machine: number, folder: string): Promise<string[]> {
    // The machine's own server comes first.
    const machines = Array.from({ length: MACHINES }, (_, n) => (machine + n) % MACHINES);
    const config = join(folder, "cairn.json");
    const settings = {
      "cairn/node": { id: `node-${machine}`, dir: folder },
      "cairn/tx-log": {
        "cairn/module": "cairn.nats/->tx-log",
        servers: machines.map((n) => this.natsUrl(n)),
        replicas: MACHINES,
      },
      "cairn/index-store": { "kv-store": { "cairn/module": "cairn.leveldb/->kv-store" } },
      "cairn/http-server": { host: this.#network.outer(machine), port: 3000 },
    };
    await writeFile(config, JSON.stringify(settings));
    return [process.execPath, CAIRN, "start", "-f", config, "--json"];
  }
}
