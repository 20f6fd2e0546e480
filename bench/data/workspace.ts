import { randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type NatsTestServer, startNatsServer } from "@cairn/node/testing";
import { settle } from "../harness/command.ts";
import type { Figures } from "../harness/figures.ts";
import { runStep } from "../harness/child-step.ts";
import type { StepInput, StepName } from "../steps/steps.ts";
import { fillBucket, fillLog } from "./fill-streams.ts";
import { type FilledLog, indexDir, nodeConfig } from "./node-config.ts";
import { Records } from "./records.ts";

/** How a workspace's steps run. */
export interface WorkspaceOptions {
  readonly size: number;
  /** Where Node's CPU profiles of Cairn's steps go. */
  readonly profileDir?: string | undefined;
  /** Hears what is being made. */
  readonly onProgress: (what: string) => void;
}

/** The data of one run, below one temporary directory: each kind is made when a row first asks for it, and kept for all that follow. */
export class Workspace {
  readonly dir: string;
  readonly records: Records;
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

  /** The log with the records in it. */
  log(): Promise<FilledLog> {
    this.#log ??= this.#fill("the log", fillLog);
    return this.#log;
  }

  /** The same records as keys of a NATS KV bucket. */
  bucket(): Promise<FilledLog> {
    this.#bucket ??= this.#fill("the NATS KV bucket", fillBucket);
    return this.#bucket;
  }

  /** The folder of a node that has indexed the log; its checkpoints and its index are not to be changed. */
  index(): Promise<string> {
    this.#index ??= this.#makeIndex();
    return this.#index;
  }

  /** A folder with one checkpoint of the index. */
  checkpoints(): Promise<string> {
    this.#checkpoints ??= this.#makeCheckpoint();
    return this.#checkpoints;
  }

  /** A directory with the same records in lmdb; not to be changed. */
  lmdb(): Promise<string> {
    this.#lmdb ??= this.#makeLmdb();
    return this.#lmdb;
  }

  /** A path that nothing lies at yet. */
  fresh(name: string): string {
    return join(this.dir, `${name}-${randomUUID().slice(0, 8)}`);
  }

  /** Runs a step of Cairn's or a peer's, on a disk that has nothing left to write. */
  async run<Name extends StepName>(name: Name, input: StepInput<Name>): Promise<Figures> {
    await settle();
    const { profileDir } = this.#options;
    return await runStep(
      name,
      input,
      profileDir === undefined ? [] : ["--cpu-prof", `--cpu-prof-dir=${profileDir}`],
    );
  }

  /** Has something ended with the workspace. */
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

  async #fill(what: string, fill: typeof fillLog): Promise<FilledLog> {
    this.#server ??= startNatsServer({ storeDir: join(this.dir, "nats") });
    const { url } = await this.#server;
    this.#options.onProgress(`filling ${what}`);
    return { url, stream: await fill(url, this.records) };
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

/** Where a node's LevelDB lies below its folder. */
export function levelDir(nodeDir: string): string {
  return join(indexDir(nodeDir), "live");
}
