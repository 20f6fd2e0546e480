import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { freePort } from "@cairn/log-nats/testing";
import { NodeProcess, runCairnOrThrow } from "@cairn/test-support/cairn-process";

/** A node on a port of its own, which a restart keeps. */
export class NightNode {
  readonly id: string;
  readonly scheme: "http" | "https";
  readonly address: string;
  readonly folder: string;
  readonly #args: readonly string[];
  #process: NodeProcess | undefined;

  private constructor(id: string, folder: string, port: number, config: Readonly<Record<string, object>>) {
    const http = config["cairn/http-server"] ?? {};
    this.id = id;
    this.folder = join(folder, id);
    this.scheme = "tls" in http ? "https" : "http";
    this.address = `127.0.0.1:${port}`;
    this.#args = ["-j", JSON.stringify({ ...config, "cairn/http-server": { ...http, port } })];
  }

  static async start(
    id: string,
    folder: string,
    config: Readonly<Record<string, object>>,
  ): Promise<NightNode> {
    const node = new NightNode(id, folder, await freePort(), config);
    await mkdir(node.folder, { recursive: true });
    await node.start();
    return node;
  }

  get url(): string {
    return `${this.scheme}://${this.address}`;
  }

  get pid(): number {
    return this.#process?.pid ?? 0;
  }

  /** Starts the process, which may have a limit on open files, and returns when its server listens. */
  async start(openFiles?: number): Promise<void> {
    this.#process = NodeProcess.start({
      id: this.id,
      dir: this.folder,
      args: ["--json", ...this.#args],
      env: { CAIRN_HTTP_PORT: undefined },
      ...(openFiles !== undefined && { openFiles }),
    });
    await this.#process.url();
  }

  async ready(): Promise<void> {
    await this.#process?.ready();
  }

  async stop(): Promise<void> {
    await this.#process?.stop();
  }

  async kill(): Promise<void> {
    await this.#process?.kill();
  }

  async restart(openFiles?: number): Promise<void> {
    await this.kill();
    await this.start(openFiles);
  }

  /** Runs a command on this node's machine, and returns its output. */
  async cairn(...args: readonly string[]): Promise<string> {
    const env = { CAIRN_NODE_ID: this.id, CAIRN_DIR: this.folder, CAIRN_HTTP_PORT: undefined };
    return (await runCairnOrThrow([...args, ...this.#args], { env })).stdout;
  }

  /** Sends a request that must succeed, and returns its answer. */
  async ask(method: string, path: string, body?: string): Promise<string> {
    const response = await this.send(method, path, body);
    const text = await response.text();
    if (!response.ok) throw new Error(`${this.id}: ${method} ${path}: ${text}`);
    return text;
  }

  async send(method: string, path: string, body?: string): Promise<Response> {
    return await fetch(this.url + path, { method, ...(body === undefined ? {} : { body }) });
  }
}
