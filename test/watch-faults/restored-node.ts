import { cp, mkdtemp, rm } from "node:fs/promises";
import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { openEmbeddedTxLog } from "@cairn/engine";
import { NodeProcess } from "@cairn/test-support/cairn-process";
import { type WatchedHistory, watchedHistory } from "@cairn/test-support/watch-oracle";

/** A node process with an embedded log. A test kills it, and replaces the log with an older copy. */
export class RestoredNode {
  readonly url: string;
  /** The histories that the log had before each replacement. */
  readonly lost: WatchedHistory[] = [];
  readonly #folder: string;
  readonly #port: number;
  readonly #copies: string[] = [];
  #node: NodeProcess;

  private constructor(folder: string, port: number) {
    this.#folder = folder;
    this.#port = port;
    this.url = `http://127.0.0.1:${port}`;
    this.#node = this.#begin();
  }

  static async open(): Promise<RestoredNode> {
    const probe = createServer().listen(0, "127.0.0.1");
    await once(probe, "listening");
    const { port } = probe.address() as AddressInfo;
    probe.close();
    await once(probe, "close");
    return new RestoredNode(await mkdtemp(path.join(tmpdir(), "cairn-restored-")), port);
  }

  #begin(): NodeProcess {
    const env = { CAIRN_HTTP_PORT: String(this.#port) };
    return NodeProcess.start({ id: "n", dir: this.#folder, env });
  }

  async start(): Promise<void> {
    this.#node = this.#begin();
    await this.#node.ready();
  }

  async ready(): Promise<void> {
    await this.#node.ready();
  }

  async kill(): Promise<void> {
    await this.#node.kill();
  }

  async stop(): Promise<void> {
    await this.#node.stop();
  }

  get copies(): number {
    return this.#copies.length;
  }

  /** Copies the log of a node that is not running. */
  async copy(): Promise<void> {
    const copy = path.join(this.#folder, `copy-${this.#copies.length}`);
    await cp(this.#log, copy, { recursive: true });
    this.#copies.push(copy);
  }

  /** Replaces the log of a node that is not running with a copy. */
  async restore(number: number): Promise<void> {
    this.lost.push(await this.history());
    await rm(this.#log, { recursive: true });
    await cp(this.#copies[number] ?? "", this.#log, { recursive: true });
  }

  /** Reads the log of a node that is not running. */
  async history(): Promise<WatchedHistory> {
    const log = await openEmbeddedTxLog({ path: this.#log });
    try {
      const { first, last } = await log.bounds();
      const messages = await Promise.all(
        Array.from({ length: last - first + 1 }, (_, n) => log.fetch(first + n)),
      );
      return await watchedHistory(messages.filter((message) => message !== undefined));
    } finally {
      await log.close();
    }
  }

  get #log(): string {
    return path.join(this.#folder, "n-log");
  }

  async close(): Promise<void> {
    await this.#node.kill();
    await rm(this.#folder, { recursive: true, force: true });
  }
}
