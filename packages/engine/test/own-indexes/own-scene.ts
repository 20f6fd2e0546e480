import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { pathToFileURL } from "node:url";
import type { OwnIndexStatus } from "@cairn/client";
import { runNode } from "@cairn/node";
import { quietSystem } from "@cairn/test-support/nodes/quiet-system";
import { pino } from "pino";
import { vi } from "vitest";
import type { CairnNode } from "../../src/node/node.ts";
import { openEmbeddedTxLog } from "../../src/log/embedded/embedded-tx-log.ts";
import type { OwnIndexOptions } from "../../src/own-indexes/own-index.ts";
import { sorted } from "../watch/varied-writes.ts";

/** The module that json-index.mjs describes. */
export const JSON_INDEX = {
  url: pathToFileURL(path.join(import.meta.dirname, "json-index.mjs")).href,
  export: "create",
};

/** Another process may use the machine. */
const WAIT = { timeout: 60_000, interval: 10 };

/** A node with an index of one's own, in a folder with its log and its checkpoints. */
export class OwnScene {
  readonly folder: string;
  /** What the nodes have logged. */
  readonly logged: Readonly<Record<string, unknown>>[] = [];
  readonly #open: CairnNode[] = [];

  private constructor(folder: string) {
    this.folder = folder;
  }

  static async open(): Promise<OwnScene> {
    return new OwnScene(await mkdtemp(path.join(tmpdir(), "cairn-own-")));
  }

  async close(): Promise<void> {
    for (const one of this.#open) await one.close();
    await rm(this.folder, { recursive: true, force: true });
  }

  /** Starts the node again, with other options of the index. With `null`, it has none. */
  async start(given: Partial<OwnIndexOptions> | null = {}): Promise<void> {
    const openTxLog = async () => await openEmbeddedTxLog({ path: path.join(this.folder, "node-1-log") });
    const options = {
      name: "json",
      version: 1,
      module: JSON_INDEX,
      options: {},
      ready: "later" as const,
      checkpoint: true,
    };
    const system = quietSystem({ folder: this.folder, nodeId: "node-1", openTxLog });
    const write = (line: string): void => void this.logged.push(JSON.parse(line) as Record<string, unknown>);
    const logger = pino({ level: "debug" }, { write });
    const ownIndexes = given === null ? [] : [{ ...options, ...given }];
    this.#open.push(await runNode({ ...system, ownIndexes }, { logger }));
    await this.node.ready;
  }

  /** The node that was started last. */
  get node(): CairnNode {
    const node = this.#open.at(-1);
    if (node === undefined) throw new Error("no node was started");
    return node;
  }

  async put(name: string, document: unknown = 1): Promise<void> {
    await this.node.await(await this.node.submit({ ops: [["put", "plain", name, document as number]] }));
  }

  readonly ownStatus = async (): Promise<OwnIndexStatus> => {
    const [only] = (await this.node.status()).ownIndexes;
    if (only === undefined) throw new Error("there is no index");
    return only;
  };

  /** Waits until the index is live and has everything that the node has, or is in another state. */
  async reached(state: OwnIndexStatus["state"] = "live"): Promise<OwnIndexStatus> {
    const { index } = await this.node.status();
    return await vi.waitFor(async () => {
      const found = await this.ownStatus();
      if (found.state === state && (state !== "live" || found.txId === index.txId)) return found;
      throw new Error(`the index is ${JSON.stringify(found)}`);
    }, WAIT);
  }

  get dbDir(): string {
    return path.join(this.folder, "node-1-index");
  }

  /** The folder of the index. */
  get own(): string {
    return path.join(this.dbDir, "own", "json");
  }

  async folders(): Promise<string[]> {
    return (await readdir(this.own)).filter((name) => name !== "served.json");
  }

  /** The file that the index serves. */
  async file(): Promise<string> {
    const served = JSON.parse(await readFile(path.join(this.own, "served.json"), "utf8")) as {
      folder: string;
    };
    return path.join(this.own, served.folder, "index.json");
  }

  async contents(): Promise<readonly (readonly [string, string])[]> {
    const { documents } = JSON.parse(await readFile(await this.file(), "utf8")) as {
      documents: Record<string, string>;
    };
    return sorted(new Map(Object.entries(documents)));
  }
}

/** Returns the lines of the file `trace` of the module. */
export async function traced(file: string): Promise<string[]> {
  return (await readFile(file, "utf8")).trimEnd().split("\n");
}
