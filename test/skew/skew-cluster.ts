import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { NodeStatus } from "@cairn/node";
import { LogFold } from "@cairn/engine/testing";
import { NatsOperator, type NatsTestServer, startNatsServer } from "@cairn/log-nats/testing";
import { type CommandResult, NodeProcess, runCairn } from "@cairn/test-support/cairn-process";
import { falseAlarms, isFalseAlarm, readLogLine } from "./alarms.ts";
import type { Build } from "./builds.ts";
import type { Figures } from "./figures.ts";
import { configOf } from "./node-config.ts";
import { StoreHistory } from "./store-history.ts";

/** The number of its own checkpoints that each version retains. */
const RETAIN = 2;
const SETTLED_WITHIN_MS = 90_000;
const POLL_MS = 50;

/** A node of the cluster and its current state. */
export interface Member {
  readonly id: string;
  readonly config: string;
  build: Build;
  process: NodeProcess | undefined;
  /** The version of the index in its db-dir; undefined if that is unknown. */
  indexVersion: number | undefined;
  /** The number of lines of its log that were inspected. */
  linesRead: number;
}

/**
 * Node processes of two versions with one nats-server and one folder of checkpoints. Every inspection records the
 * alarms that nodes raised without a cause.
 */
export class SkewCluster {
  readonly folder: string;
  readonly nats: NatsTestServer;
  readonly store: StoreHistory;
  readonly members: Member[] = [];
  /** The error codes that nodes may fail with because of this round's actions. */
  readonly expected = new Set<string>();
  readonly figures: Figures;
  readonly #fold = new LogFold();
  readonly #closed = new AbortController();
  readonly #watching: Promise<void>;

  private constructor(folder: string, nats: NatsTestServer, figures: Figures) {
    this.folder = folder;
    this.nats = nats;
    this.figures = figures;
    this.store = new StoreHistory(this.checkpoints, RETAIN);
    this.#watching = this.#watchStore();
    // `close` reports the error.
    this.#watching.catch(() => {});
  }

  static async open(figures: Figures): Promise<SkewCluster> {
    const folder = await mkdtemp(path.join(tmpdir(), "cairn-skew-"));
    const nats = await startNatsServer({ storeDir: path.join(folder, "nats") });
    return new SkewCluster(folder, nats, figures);
  }

  get checkpoints(): string {
    return path.join(this.folder, "checkpoints");
  }

  /** Adds a node without starting it. */
  async add(id: string, build: Build): Promise<Member> {
    const config = path.join(this.folder, `${id}.json`);
    const whole = configOf(id, path.join(this.folder, id), {
      server: this.nats.url,
      checkpoints: this.checkpoints,
      retain: RETAIN,
    });
    await writeFile(config, JSON.stringify(whole));
    const member: Member = { id, config, build, process: undefined, indexVersion: undefined, linesRead: 0 };
    this.members.push(member);
    return member;
  }

  /** Starts a node without waiting for it. */
  spawn(member: Member, build: Build): NodeProcess {
    if (this.#closed.signal.aborted) throw new Error("The cluster is closed.");
    member.build = build;
    member.linesRead = 0;
    this.figures.count(`starts of the ${build.name} version`);
    const args = ["-f", member.config, "--log-level", "debug"];
    member.process = NodeProcess.start({
      id: member.id,
      dir: path.join(this.folder, member.id),
      args,
      program: build.program,
    });
    return member.process;
  }

  /** Starts a node, waits until it is ready or has failed, and returns its status. */
  async start(member: Member, build: Build): Promise<NodeStatus> {
    await this.store.poll();
    const before = this.store.present;
    const process = this.spawn(member, build);
    const deadline = Date.now() + SETTLED_WITHIN_MS;
    for (;;) {
      const status = await process.status();
      if (status.phase === "ready" || status.phase === "failed") {
        await this.#judgeJoin(member, status, before);
        return status;
      }
      if (Date.now() > deadline)
        throw new Error(`${member.id} (${build.name}) is ${status.phase}:\n${process.output()}`);
      await delay(20);
    }
  }

  /** Kills a node as in a crash, or stops it gracefully. */
  async end(member: Member, how: "kill" | "stop"): Promise<void> {
    const { process } = member;
    if (process === undefined) return;
    this.figures.count(how === "kill" ? "nodes killed" : "nodes stopped");
    await (how === "kill" ? process.kill() : process.stop());
    this.#readLog(member);
    member.process = undefined;
  }

  /** Removes a node's db-dir. */
  async empty(member: Member): Promise<void> {
    this.figures.count("db-dirs emptied");
    await rm(path.join(this.folder, member.id), { recursive: true, force: true });
    member.indexVersion = undefined;
  }

  /** Returns the nodes that are ready. */
  async ready(): Promise<Member[]> {
    const found = await Promise.all(
      this.members.map(async (member) => ((await this.statusOf(member))?.phase === "ready" ? [member] : [])),
    );
    return found.flat();
  }

  async statusOf({ process }: Member): Promise<NodeStatus | undefined> {
    if (process === undefined || process.exited) return undefined;
    return await process.status();
  }

  /** Runs a command of a build with a node's configuration. */
  async command({ program }: Build, { config }: Member, ...args: string[]): Promise<CommandResult> {
    return await runCairn([...args, "-f", config], { program });
  }

  /** Records false alarms in the status and the logs of the running nodes. */
  async inspect(): Promise<void> {
    for (const member of this.members) {
      const status = await this.statusOf(member);
      if (status === undefined) continue;
      for (const alarm of falseAlarms(status, this.expected)) this.violated(member, alarm);
      this.#readLog(member);
    }
  }

  violated({ id, build }: Pick<Member, "id" | "build">, sentence: string): void {
    this.figures.violated(`${id} (${build.name}): ${sentence}`);
  }

  /**
   * Folds the log without using any part of a node. Must be called before each trim, because it continues an earlier
   * fold.
   */
  async fold(): Promise<LogFold> {
    await NatsOperator.at(this.nats.url, async (operator) => {
      for await (const message of operator.messages()) {
        if (message.position <= this.#fold.txId) continue;
        this.#fold.apply(message);
      }
    });
    return this.#fold;
  }

  async close(): Promise<void> {
    this.#closed.abort();
    await Promise.all(this.members.map(async ({ process }) => await process?.kill()));
    await this.nats.close();
    await this.#watching;
    // A command that the round started may still be writing.
    await rm(this.folder, { recursive: true, force: true, maxRetries: 10 });
  }

  async #judgeJoin(
    member: Member,
    status: NodeStatus,
    before: readonly { indexVersion: number }[],
  ): Promise<void> {
    const { join, index, phase } = status;
    for (const problem of falseAlarms(status, this.expected)) this.violated(member, problem);
    for (const { code } of [...join.movedAside, ...join.skipped])
      this.figures.count(`skipped or moved aside: ${code}`);
    if (status.failure !== null) this.figures.count(`refused: ${status.failure.code}`);
    await this.store.poll();
    const from = join.restoredFrom === null ? undefined : this.store.seen.get(join.restoredFrom.name);
    if (from !== undefined && from.indexVersion > index.version)
      this.violated(member, `version ${index.version} restored ${from.name} of version ${from.indexVersion}`);
    const earlier = member.indexVersion ?? index.version;
    const isMovedAside = join.movedAside.some(({ code }) => code === "INDEX_VERSION");
    if (member.indexVersion !== undefined && earlier > index.version !== isMovedAside)
      this.violated(
        member,
        `version ${index.version} ${isMovedAside ? "moved" : "did not move"} aside the index of version ${earlier}`,
      );
    if (phase !== "ready") return;
    if (earlier < index.version && join.restoredFrom === null)
      this.figures.count("earlier indexes continued");
    if (from !== undefined)
      this.figures.count(`restored a checkpoint of version ${from.indexVersion} by version ${index.version}`);
    const own = before.filter(({ indexVersion }) => indexVersion === index.version);
    if (earlier > index.version && own.length > 0 && join.restoredFrom === null)
      this.violated(member, `it restored none of ${own.length} checkpoints of its version ${index.version}`);
    member.indexVersion = index.version;
  }

  #readLog(member: Member): void {
    const lines = member.process?.lines ?? [];
    for (const line of lines.slice(member.linesRead)) {
      const parsed = readLogLine(line);
      if (parsed === undefined) continue;
      if (isFalseAlarm(parsed, this.expected)) this.violated(member, `false alarm in its log: ${line}`);
      for (const { name, reason } of parsed.removed ?? []) {
        if (reason !== "retention") continue;
        this.figures.count("checkpoints removed by retention");
        const removed = this.store.seen.get(name)?.indexVersion;
        const own = member.indexVersion;
        if (removed !== undefined && own !== undefined && removed !== own)
          this.violated(member, `its sweep removed ${name} of version ${removed}`);
      }
    }
    member.linesRead = lines.length;
  }

  async #watchStore(): Promise<void> {
    while (!this.#closed.signal.aborted) {
      for (const problem of await this.store.poll()) this.figures.violated(problem);
      await delay(POLL_MS);
    }
  }
}
