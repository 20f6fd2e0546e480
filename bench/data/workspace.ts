import { randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type NatsTestServer, startNatsServer } from "@cairn/log-nats/testing";
import { settle } from "../harness/command.ts";
import type { Figures } from "../harness/figures.ts";
import { runStep } from "../harness/child-step.ts";
import type { StepInput, StepName } from "../steps/steps.ts";
import { fillBucket, fillLog, type LogContent, dropStream } from "./fill-streams.ts";
import { type FilledLog, indexDir, nodeConfig } from "./node-config.ts";
import { OwnNodes } from "./own-nodes.ts";
import { Records } from "./records.ts";

/** Options for {@link Workspace.open}. */
export interface WorkspaceOptions {
  readonly size: number;
  /** The folder for Node's CPU profiles of the steps. */
  readonly profileDir?: string | undefined;
  /** Called with a description of the data that is being created. */
  readonly onProgress: (what: string) => void;
}

/**
 * The data of one run, in a temporary directory. Each kind of data is created when a row first needs it, and shared by
 * later rows.
 */
export class Workspace {
  readonly dir: string;
  readonly records: Records;
  /** The nodes that own indexes are measured with. */
  readonly own = new OwnNodes(this);
  readonly #options: WorkspaceOptions;
  #server: Promise<NatsTestServer> | undefined;
  #log: Promise<FilledLog> | undefined;
  #bucket: Promise<FilledLog> | undefined;
  #index: Promise<string> | undefined;
  #checkpoints: Promise<string> | undefined;
  #lmdb: Promise<string> | undefined;
  readonly #closers: (() => Promise<void>)[] = [];

  private constructor(dir: string, options: WorkspaceOptions) {
    this.dir = dir;
    this.records = new Records(options.size);
    this.#options = options;
  }

  static async open(options: WorkspaceOptions): Promise<Workspace> {
    return new Workspace(await mkdtemp(join(tmpdir(), "cairn-bench-")), options);
  }

  /** Returns the log that contains the records. */
  log(): Promise<FilledLog> {
    const { count } = this.records;
    const message = (index: number, logTag: string): Buffer => this.records.message(index, logTag);
    this.#log ??= this.fillLog("the log", { stream: "cairn", count, message });
    return this.#log;
  }

  /** Returns a NATS KV bucket with the same records. */
  bucket(): Promise<FilledLog> {
    this.#bucket ??= this.#fill("the NATS KV bucket", (url) => fillBucket(url, this.records));
    return this.#bucket;
  }

  /** Returns the folder of a node that has indexed the log. Steps must not change its index. */
  index(): Promise<string> {
    this.#index ??= this.#makeIndex();
    return this.#index;
  }

  /** Returns a folder with one checkpoint of the index. */
  checkpoints(): Promise<string> {
    this.#checkpoints ??= this.#makeCheckpoint();
    return this.#checkpoints;
  }

  /** Returns a directory with the same records in lmdb. Steps must not change it. */
  lmdb(): Promise<string> {
    this.#lmdb ??= this.#makeLmdb();
    return this.#lmdb;
  }

  /** Returns a path that does not exist yet. */
  fresh(name: string): string {
    return join(this.dir, `${name}-${randomUUID().slice(0, 8)}`);
  }

  /** Runs a step after everything written so far has reached the disk. */
  async run<Name extends StepName>(name: Name, input: StepInput<Name>): Promise<Figures> {
    await settle();
    const { profileDir } = this.#options;
    return await runStep(
      name,
      input,
      profileDir === undefined ? [] : ["--cpu-prof", `--cpu-prof-dir=${profileDir}`],
    );
  }

  /** Creates a log with the given content; `what` names it in the progress. */
  fillLog(what: string, content: LogContent): Promise<FilledLog> {
    return this.#fill(what, (url) => fillLog(url, content));
  }

  /** Removes a log that {@link fillLog} created. */
  async dropLog({ url, stream }: FilledLog): Promise<void> {
    await dropStream(url, stream);
  }

  /** Registers a function that {@link close} calls. */
  atClose(close: () => Promise<void>): void {
    this.#closers.push(close);
  }

  async close(): Promise<void> {
    try {
      await Promise.all(this.#closers.map((close) => close()));
      await (await this.#server)?.close();
    } finally {
      await rm(this.dir, { recursive: true, force: true });
    }
  }

  /** Returns the server of the logs. */
  natsServer(): Promise<NatsTestServer> {
    this.#server ??= startNatsServer({ storeDir: join(this.dir, "nats") });
    return this.#server;
  }

  /** Reports progress. */
  get onProgress(): (what: string) => void {
    return this.#options.onProgress;
  }

  async #fill(what: string, fill: (url: string) => Promise<string>): Promise<FilledLog> {
    const { url } = await this.natsServer();
    this.#options.onProgress(`filling ${what}`);
    return { url, stream: await fill(url) };
  }

  async #makeIndex(): Promise<string> {
    const log = await this.log();
    this.#options.onProgress("indexing the log");
    const dir = this.fresh("node");
    await runStep("replay", { config: nodeConfig({ dir, log }), documents: this.records.count });
    return dir;
  }

  async #makeCheckpoint(): Promise<string> {
    const dir = await this.index();
    const log = await this.log();
    const checkpoints = this.fresh("checkpoints");
    this.#options.onProgress("saving a checkpoint");
    await runStep("checkpoint", { config: nodeConfig({ dir, log, checkpoints }) });
    return checkpoints;
  }

  async #makeLmdb(): Promise<string> {
    this.#options.onProgress("putting the records into lmdb");
    const dir = this.fresh("lmdb");
    await runStep("make lmdb", { dir, records: this.records.count });
    return dir;
  }
}

/** Returns the folder of a node's LevelDB. */
export function levelDir(nodeDir: string): string {
  return join(indexDir(nodeDir), "live");
}
