import { execFile } from "node:child_process";
import { appendFileSync } from "node:fs";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { NodeStatus } from "@cairn/node";
import { newIdentity } from "@cairn/checkpoint/testing";
import { testS3 } from "@cairn/localstack";
import { type NatsTestCluster, startNatsCluster, startNatsServer } from "@cairn/log-nats/testing";
import { CAIRN, type CommandResult, NodeProcess } from "@cairn/test-support/cairn-process";
import { embeddedPlace, type LogPlace, natsPlace } from "./log-place.ts";
import { configOf, keyFileOf, type Places, type Scene } from "./scene.ts";

const COMMAND_TIMEOUT_MS = 120_000;
const MAX_OUTPUT = 1 << 26;
const SHOWN = 1_200;

/** A machine with a node. */
export interface Member {
  /** The node's id and db-dir, which a step may change. */
  id: string;
  readonly dir: string;
  config: string;
  process: NodeProcess | undefined;
  /** Whether the operator wants the node to run. */
  isWanted: boolean;
}

/** The machines of one life: its nodes, servers and stores, and an operator's shell. */
export class LifeCluster {
  readonly scene: Scene;
  readonly folder: string;
  readonly places: Places;
  readonly log: LogPlace;
  readonly members: Member[] = [];
  readonly violations: string[] = [];
  readonly program: string;
  readonly #closing: (() => Promise<unknown>)[];
  /** All nodes that were started, including those of one step. */
  readonly #started = new Set<Member>();
  readonly #begun = performance.now();

  private constructor(
    scene: Scene,
    places: Places,
    log: LogPlace,
    program: string,
    closing: (() => Promise<unknown>)[],
  ) {
    this.scene = scene;
    this.places = places;
    this.folder = places.folder;
    this.log = log;
    this.program = program;
    this.#closing = closing;
  }

  static async open(scene: Scene, program = CAIRN): Promise<LifeCluster> {
    const folder = await mkdtemp(path.join(tmpdir(), "cairn-life-"));
    const closing: (() => Promise<unknown>)[] = [];
    const s3 = scene.stores === "s3" ? await testS3() : undefined;
    if (s3 !== undefined) closing.push(() => s3.close());
    const cluster: NatsTestCluster | undefined =
      scene.log === "nats-cluster" ? await startNatsCluster() : undefined;
    const server =
      scene.log === "nats" ? await startNatsServer({ storeDir: path.join(folder, "nats") }) : undefined;
    const servers = cluster?.servers ?? (server === undefined ? [] : [server]);
    closing.push(async () => await (cluster ?? server)?.close());
    const places = { folder, s3, servers: servers.map(({ url }) => url) };
    const log =
      server === undefined && cluster === undefined
        ? embeddedPlace(() => `${folder}/a/the-log`)
        : natsPlace(servers);
    const life = new LifeCluster(scene, places, log, program, closing);
    await mkdir(path.join(folder, "bin"));
    const script = `#!/bin/sh\nexec "${process.execPath}" "${program}" "$@"\n`;
    await writeFile(path.join(folder, "bin/cairn"), script, { mode: 0o755 });
    await writeFile(keyFileOf(places), `${newIdentity()}\n`, { mode: 0o600 });
    for (const id of ["a", "b", "c"].slice(0, scene.nodes)) life.members.push(await life.member(id));
    return life;
  }

  /** Whether the log must not be open while a command works on it. */
  get isEmbedded(): boolean {
    return this.scene.log === "embedded";
  }

  /** Returns a node with a folder of its own, which is not one of the members yet. */
  async member(id: string, dir = path.join(this.folder, id), config?: object): Promise<Member> {
    const file = path.join(this.folder, `${id}.json`);
    await writeFile(file, JSON.stringify(config ?? configOf(this.scene, id, dir, this.places)));
    return { id, dir, config: file, process: undefined, isWanted: true };
  }

  /** Starts a node that does not run, and waits until it serves its status. */
  async start(member: Member): Promise<void> {
    if (member.process?.exited === false) return;
    member.isWanted = true;
    this.#started.add(member);
    const { id, dir, config } = member;
    const env = { ...this.#environment(), CAIRN_HTTP_PORT: "0" };
    member.process = NodeProcess.start({ id, dir, args: ["-f", config], env, program: this.program });
    await member.process
      .url()
      .catch((error: unknown) => this.violated(`${id} did not start: ${String(error)}`));
  }

  async end(member: Member, how: "kill" | "stop" = "stop"): Promise<void> {
    const { process: running } = member;
    member.process = undefined;
    if (running === undefined || running.exited) return;
    if (how === "kill") return await running.kill();
    const code = await running.stop();
    if (code !== 0) this.violated(`${member.id} ended with ${code}: ${running.lines.slice(-3).join("\n")}`);
  }

  async status({ process: running }: Member): Promise<NodeStatus | undefined> {
    if (running === undefined || running.exited) return undefined;
    return await running.status().catch(() => undefined);
  }

  /** The nodes that run. */
  get running(): Member[] {
    return this.members.filter(({ process: one }) => one !== undefined && !one.exited);
  }

  /** Runs `cairn` with these words in a shell, with the configuration of a node. */
  async cairn(words: string, member: Member): Promise<CommandResult> {
    return await this.shell(`cairn ${words} -f ${member.config}`);
  }

  /** Runs `cairn` with these words in a shell, for a node that runs. */
  async ask(words: string, member: Member): Promise<CommandResult> {
    return await this.shell(`cairn ${words} --url ${await member.process?.url()}`);
  }

  /** Runs a command that reads the log: an embedded one is open in its node, which is stopped for that. */
  async besideLog(words: string, member: Member): Promise<CommandResult> {
    return await this.withoutNode(member, () => this.cairn(words, member));
  }

  /** Runs `act` while the node of an embedded log is stopped. */
  async withoutNode<T>(member: Member, act: () => Promise<T>): Promise<T> {
    const runs = this.isEmbedded && member.process?.exited === false;
    if (runs) await this.end(member);
    const result = await act();
    if (runs) await this.start(member);
    return result;
  }

  async shell(line: string): Promise<CommandResult> {
    const begun = performance.now();
    const env = { ...this.#environment(), PATH: `${this.folder}/bin:/usr/bin:/bin` };
    const options = { env, cwd: this.folder, timeout: COMMAND_TIMEOUT_MS, maxBuffer: MAX_OUTPUT };
    const result = await new Promise<CommandResult>((resolve) => {
      execFile("/bin/bash", ["--norc", "-c", line], options, (error, stdout, stderr) => {
        const code = error === null ? 0 : typeof error.code === "number" ? error.code : null;
        resolve({ code, stdout, stderr });
      });
    });
    const { code, stdout, stderr } = result;
    const seconds = ((performance.now() - begun) / 1_000).toFixed(1);
    this.note(`$ ${line}\n  -> ${code} after ${seconds} s\n${stdout.slice(-SHOWN)}${stderr.slice(-SHOWN)}`);
    if (code === null) this.violated(`did not end within ${COMMAND_TIMEOUT_MS} ms: ${line}`);
    if (/^INTERNAL|TypeError|\n {4}at /m.test(stderr)) this.violated(`internal error of ${line}: ${stderr}`);
    return result;
  }

  /** Waits until `found` returns something. Returns undefined after the limit. */
  async until<T>(seconds: number, found: () => Promise<T | undefined>): Promise<T | undefined> {
    for (const deadline = Date.now() + seconds * 1_000; ; await delay(100)) {
      const result = await found();
      if (result !== undefined || Date.now() > deadline) return result;
    }
  }

  /** Adds a line to the life's journal. */
  note(text: string): void {
    const seconds = ((performance.now() - this.#begun) / 1_000).toFixed(1).padStart(7);
    appendFileSync(
      path.join(this.folder, "journal"),
      `${seconds} ${text.trimEnd().replaceAll("\n", "\n          ")}\n`,
    );
  }

  violated(sentence: string): void {
    this.violations.push(sentence);
    this.note(`VIOLATION ${sentence}`);
  }

  /** Ends everything. The folder is kept if a rule was violated. */
  async close(): Promise<void> {
    await Promise.all([...this.#started].map((member) => this.end(member, "kill")));
    for (const close of this.#closing) await close();
    if (this.violations.length === 0) await rm(this.folder, { recursive: true, force: true, maxRetries: 10 });
  }

  #environment(): NodeJS.ProcessEnv {
    const { s3 } = this.places;
    if (s3 === undefined) return {};
    const { accessKeyId, secretAccessKey } = s3.credentials;
    return {
      AWS_ACCESS_KEY_ID: accessKeyId,
      AWS_SECRET_ACCESS_KEY: secretAccessKey,
      AWS_REGION: s3.region,
      AWS_ENDPOINT_URL_S3: s3.endpoint,
    };
  }
}
