import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import type { CheckpointerOptions, CheckpointStore } from "@cairn/checkpoint";
import { levelProvider } from "@cairn/kv";
import type { Logger } from "pino";
import type { CairnNode, System } from "@cairn/engine";
import type { RunOptions } from "@cairn/engine/src/node/node";
import { checkedVersion, decodeVersion, encodeVersion } from "@cairn/engine/src/index/rows/version-values";
import { runNode } from "@cairn/node";
import { openNatsTxLog } from "@cairn/log-nats/src/nats-tx-log";
import { FaultyTxLog, type TxLogFaults, LogFold } from "@cairn/engine/testing";
import { NatsOperator, type NatsTestServer, startNatsServer } from "@cairn/log-nats/testing";
import { cairn, CapturedTerminal, type CommandResult } from "./captured-terminal.ts";
import { quietSystem } from "./quiet-system.ts";

/** Options for starting a node of a {@link ClusterScene}. */
export interface SceneOptions extends RunOptions {
  /** The folder of its index, which is named after its id by default. */
  readonly place?: string;
  readonly logger?: Logger;
  readonly parts?: Partial<System>;
  /** The node's store. By default, it is a folder that all nodes share. */
  readonly store?: CheckpointStore;
  readonly checkpointer?: Partial<CheckpointerOptions>;
}

/** A real nats-server, a folder of checkpoints, and nodes that commands can examine. */
export class ClusterScene {
  readonly folder: string;
  readonly nats: NatsTestServer;
  readonly #nodes = new Set<CairnNode>();

  private constructor(folder: string, nats: NatsTestServer) {
    this.folder = folder;
    this.nats = nats;
  }

  static async open(args: readonly string[] = []): Promise<ClusterScene> {
    const folder = await mkdtemp(path.join(tmpdir(), "cairn-cluster-"));
    return new ClusterScene(folder, await startNatsServer({ storeDir: path.join(folder, "nats"), args }));
  }

  async start(
    id: string,
    { place = id, parts = {}, store, checkpointer, ...options }: SceneOptions = {},
  ): Promise<CairnNode> {
    const openTxLog: System["openTxLog"] = async ({ signal }) =>
      await openNatsTxLog({ servers: [this.nats.url], signal });
    const system = quietSystem({
      folder: this.folder,
      nodeId: id,
      openTxLog,
      checkpointer: { ...(store && { store }), ...checkpointer },
    });
    const node = await runNode({ ...system, dbDir: this.dbDir(place), ...parts }, options);
    this.#nodes.add(node);
    return node;
  }

  async ready(id: string, options: SceneOptions = {}): Promise<CairnNode> {
    const node = await this.start(id, options);
    await node.ready;
    return node;
  }

  /** Starts a ready node with HTTP that receives messages of the log only while `faults.stalled` is false. */
  async withheld(
    id: string,
    settings: Partial<NonNullable<System["http"]>> = {},
  ): Promise<{ readonly node: CairnNode; readonly faults: TxLogFaults }> {
    const logs: FaultyTxLog[] = [];
    const openTxLog: System["openTxLog"] = async ({ signal }) => {
      const log = new FaultyTxLog(await openNatsTxLog({ servers: [this.nats.url], signal }));
      logs.push(log);
      return log;
    };
    const http = { host: "127.0.0.1", port: 0, maxBody: 1_000_000, ...settings };
    const node = await this.ready(id, { parts: { openTxLog, http } });
    const [log] = logs;
    if (log === undefined) throw new Error("no log was opened");
    return { node, faults: log.faults };
  }

  async stop(node: CairnNode): Promise<void> {
    this.#nodes.delete(node);
    await node.close();
  }

  dbDir(place: string): string {
    return path.join(this.folder, `${place}-index`);
  }

  /** Alters a document's JSON in a stopped node's index, as if the node had applied something else. */
  async alter(place: string, key: Uint8Array, change: (json: string) => string): Promise<void> {
    const kv = await levelProvider().open(path.join(this.dbDir(place), "live"));
    const value = await kv.get(key);
    if (value === undefined) throw new Error("there is no such row");
    const { revision, time, json = "" } = decodeVersion(checkedVersion(key, value));
    const altered = encodeVersion(key, revision, time, Buffer.from(change(json)));
    await kv.batch([{ type: "put", key, value: altered }]);
    await kv.close();
  }

  /** Runs `cairn status --cluster …` with a configuration that names the scene's log and checkpoints. */
  async status(...args: string[]): Promise<CommandResult> {
    const env = {
      NATS_URL: this.nats.url,
      CAIRN_CHECKPOINT_PATH: path.join(this.folder, "checkpoints"),
    };
    const terminal = new CapturedTerminal({ cwd: this.folder, env });
    return await cairn(["status", "--cluster", "--timeout", "PT2S", ...args], terminal);
  }

  /** Returns a fold of the current log, computed without the node's code. */
  async fold(upTo?: number): Promise<LogFold> {
    return await NatsOperator.at(this.nats.url, async (nats) => await LogFold.of(nats.messages(), upTo));
  }

  /** Copies the files of the log's server, for {@link rollBackLog}. */
  async copyLog(): Promise<void> {
    await this.#whileStopped(async () => await cp(this.#logFiles, this.#logCopy, { recursive: true }));
  }

  /** Restores the log's server to the state at the last {@link copyLog}. */
  async rollBackLog(): Promise<void> {
    await this.#whileStopped(async () => {
      await rm(this.#logFiles, { recursive: true });
      await cp(this.#logCopy, this.#logFiles, { recursive: true });
    });
  }

  /** Removes everything that the log's server has stored. */
  async loseLog(): Promise<void> {
    await this.#whileStopped(async () => await rm(this.#logFiles, { recursive: true }));
  }

  get #logFiles(): string {
    return path.join(this.folder, "nats");
  }

  get #logCopy(): string {
    return path.join(this.folder, "nats-copy");
  }

  async #whileStopped(change: () => Promise<void>): Promise<void> {
    await this.nats.stop();
    await change();
    await this.nats.start();
  }

  /** Copies a stopped node's index to another folder. */
  async copyIndex(from: string, to: string): Promise<void> {
    await cp(this.dbDir(from), this.dbDir(to), { recursive: true });
  }

  async close(): Promise<void> {
    await Promise.all([...this.#nodes].map((node) => node.close()));
    await this.nats.close();
    await rm(this.folder, { recursive: true, force: true });
  }
}

/** Puts `things/default/k<n>` for each n in its own transaction, waits for the last one, and returns its id. */
export async function put(node: CairnNode, from: number, to: number, value: string): Promise<number> {
  let last = 0;
  for (let n = from; n < to; n += 1) {
    ({ txId: last } = await node.submit({ ops: [["put", "things", `default/k${n}`, value]] }));
  }
  await node.await(last);
  return last;
}
