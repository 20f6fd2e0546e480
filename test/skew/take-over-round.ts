import { readdir } from "node:fs/promises";
import path from "node:path";
import { spawn } from "node:child_process";
import { once } from "node:events";
import type { NodeStatus } from "@cairn/node";
import { runCairnOrThrow } from "../support/cairn-process.ts";
import { seededRandom } from "../support/seeded-random.ts";
import { AcknowledgedHistory, differences, type Operation } from "./acknowledged.ts";
import { type Build, NEW } from "./builds.ts";
import { swapEmbeddedLogs } from "./embedded-logs.ts";
import type { Figures } from "./figures.ts";
import { type Fingerprint, fingerprintOf, harmDone } from "./fingerprint.ts";
import { documentsOf, saveCheckpoint, submitBatch } from "./node-requests.ts";
import { type Member, SkewCluster } from "./skew-cluster.ts";

const OLD_STREAM = "cairn";
const NEW_STREAM = "cairn-2";
const BUCKETS = ["pods", "nodes", "empty-soon"];
const TRANSACTIONS = 600;

/** The error with which a node must refuse a log that it cannot read. */
interface Refusal {
  readonly message: RegExp;
  readonly hint: RegExp;
}

const REFUSED_BY_NEW: Refusal = { message: /0\.1\.0/, hint: /cairn list BUCKET .*\| cairn load -/ };
const REFUSED_BY_FIRST: Refusal = {
  message: /not a transaction log of Cairn/,
  hint: /Nothing was read from it or written to it/,
};

/** Moves the documents of a cluster of version 0.1.0 to the new version, and checks that neither version harms the other one's data. */
export class TakeOverRound {
  readonly #cluster: SkewCluster;
  readonly #figures: Figures;
  readonly #first: Build;
  readonly #random: () => number;
  readonly #history = new AcknowledgedHistory();

  constructor(cluster: SkewCluster, first: Build, seed: number) {
    this.#cluster = cluster;
    this.#figures = cluster.figures;
    this.#first = first;
    this.#random = seededRandom(seed);
  }

  /** Runs the round. Violations are added to the figures of the cluster, which the caller closes. */
  async run(): Promise<void> {
    const cluster = this.#cluster;
    const old = await cluster.add("old", this.#first, OLD_STREAM);
    await this.#ready(old, this.#first);
    await this.#write(old);
    await saveCheckpoint(cluster, old);

    cluster.expected.add("LOG_DIFFERENT");
    const joining = await cluster.add("joining", NEW, OLD_STREAM);
    const hint = await this.#refused(joining, NEW, OLD_STREAM, REFUSED_BY_NEW);
    await this.#refuseCommands(joining);
    await this.#upgradeInPlace(old);

    const next = await cluster.add("next", NEW, NEW_STREAM);
    await this.#ready(next, NEW);
    for (const bucket of BUCKETS) await this.#takeOver(hint, bucket, old, next);
    await this.#judge(old, { revisions: true });
    await this.#judge(next, { revisions: false });

    const lost = await cluster.add("lost", this.#first, NEW_STREAM);
    await this.#refused(lost, this.#first, NEW_STREAM, REFUSED_BY_FIRST);
    await this.#trimNew(next);
    const later = await cluster.add("later", this.#first, NEW_STREAM);
    await this.#firstOnTrimmed(later);
    await this.#restart(next);
    await this.#judge(next, { revisions: false });
    await this.#trimOld(old);
    await swapEmbeddedLogs(this.#first, cluster.folder, this.#figures);
  }

  async #write(old: Member): Promise<void> {
    const pick = (count: number): number => Math.floor(this.#random() * count);
    const lines = Array.from({ length: TRANSACTIONS }, (_, n) => {
      const bucket = BUCKETS[pick(BUCKETS.length)] ?? "";
      const key = `team-${pick(3)}/k ${pick(200)}/ü"\\`;
      const document = { n, text: `"\\ \u2028 ${"x".repeat(pick(300))}`, list: [1.5, null, { deep: [] }] };
      const op: Operation = pick(5) === 0 ? ["delete", bucket, key] : ["put", bucket, key, document];
      return { id: `old-${n}`, ops: [op] };
    });
    await submitBatch(await urlOf(old), lines, this.#history);
    this.#figures.count("transactions acknowledged by 0.1.0", this.#history.size);
  }

  async #ready(member: Member, build: Build): Promise<NodeStatus> {
    const status = await this.#cluster.start(member, build);
    if (status.phase !== "ready")
      this.#cluster.violated(member, `it is not ready: ${JSON.stringify(status.failure)}`);
    return status;
  }

  /** Starts a node that cannot read its log. It must refuse as documented, and leave the log and the store unchanged. Returns its hint. */
  async #refused(member: Member, build: Build, stream: string, { message, hint }: Refusal): Promise<string> {
    const before = await this.#fingerprint(stream);
    const { phase, failure } = await this.#cluster.start(member, build);
    const isRefused =
      phase === "failed" &&
      failure?.code === "LOG_DIFFERENT" &&
      message.test(failure.message) &&
      hint.test(failure.hint ?? "");
    if (!isRefused) this.#cluster.violated(member, `it is ${phase}: ${JSON.stringify(failure)}`);
    await this.#cluster.end(member, "stop");
    await this.#unchanged(member, stream, before);
    return failure?.hint ?? "";
  }

  /** Checks that commands of the new version refuse a log of 0.1.0. */
  async #refuseCommands(member: Member): Promise<void> {
    const before = await this.#fingerprint(OLD_STREAM);
    for (const command of [
      ["log", "trim"],
      ["checkpoint", "create", "--rebuild"],
      ["log", "recover", "--from", "newest"],
    ]) {
      const { code, stderr } = await this.#cluster.command(NEW, member, ...command);
      this.#figures.count(
        `commands on a log of 0.1.0 refused: ${command.join(" ")}: ${stderr.split(":")[0]}`,
      );
      if (code === 0) this.#cluster.violated(member, `${command.join(" ")} on a log of 0.1.0 ended with 0`);
    }
    await this.#unchanged(member, OLD_STREAM, before);
  }

  /** Starts a node of 0.1.0 as the new version, which must refuse its log, and then as 0.1.0 again. */
  async #upgradeInPlace(old: Member): Promise<void> {
    await this.#cluster.end(old, "stop");
    old.indexVersion = undefined;
    await this.#refused(old, NEW, OLD_STREAM, REFUSED_BY_NEW);
    const aside = await readdir(path.join(this.#cluster.folder, "old", "old-index", "quarantine")).catch(
      () => [],
    );
    if (aside.length > 0)
      this.#cluster.violated(old, "the index of 0.1.0 was moved aside though its log is refused");
    await this.#ready(old, this.#first);
    await this.#judge(old, { revisions: true });
  }

  /** Runs the hint's command verbatim. */
  async #takeOver(hint: string, bucket: string, old: Member, next: Member): Promise<void> {
    const command = /cairn list BUCKET .*? \| cairn load - --url NEW-NODE/.exec(hint)?.[0] ?? "false";
    const line = command
      .replaceAll("cairn ", `'${process.execPath}' '${NEW.program}' `)
      .replace("BUCKET", bucket)
      .replace("OLD-NODE", await urlOf(old))
      .replace("NEW-NODE", await urlOf(next));
    const child = spawn("sh", ["-c", line], { stdio: ["ignore", "ignore", "inherit"] });
    const [code] = (await once(child, "exit")) as [number | null];
    this.#figures.count("buckets taken over");
    if (code !== 0) this.#cluster.violated(next, `${command} exited with code ${code}`);
  }

  async #judge(member: Member, how: { readonly revisions: boolean }): Promise<void> {
    const { index, log } = await this.#status(member);
    await fetch(`${await urlOf(member)}/api/v1/tx/${log.lastTxId ?? index.txId}?timeout=PT30S`).then(
      (answer) => answer.text(),
    );
    const found = await documentsOf(member, BUCKETS);
    for (const problem of differences(this.#history.documents(), found, how))
      this.#cluster.violated(member, problem);
  }

  /** Trims the new log up to a verified checkpoint. */
  async #trimNew(next: Member): Promise<void> {
    await saveCheckpoint(this.#cluster, next);
    await runCairnOrThrow(["checkpoint", "verify", "-f", next.config], { program: NEW.program });
    const { stdout } = await runCairnOrThrow(["log", "trim", "-f", next.config], { program: NEW.program });
    if (!stdout.startsWith("trimmed")) this.#cluster.violated(next, `the log is not trimmed: ${stdout}`);
  }

  /** Starts a node of 0.1.0 on a trimmed log of the new version, which has no birth record. It must fail and harm nothing. */
  async #firstOnTrimmed(member: Member): Promise<void> {
    this.#cluster.expected.add("LOG_TRIMMED");
    const before = await this.#fingerprint(NEW_STREAM);
    const { phase, failure } = await this.#cluster.start(member, this.#first);
    this.#figures.count(`0.1.0 on a trimmed log of the new version: ${failure?.code ?? phase}`);
    if (phase !== "failed")
      this.#cluster.violated(member, `0.1.0 is ${phase} on a trimmed log of the new version`);
    await this.#cluster.end(member, "kill");
    await this.#unchanged(member, NEW_STREAM, before);
  }

  async #restart(next: Member): Promise<void> {
    await this.#cluster.end(next, "kill");
    await this.#cluster.empty(next);
    await this.#ready(next, NEW);
  }

  /** Trims the log of 0.1.0, which the new version must still recognize as one of 0.1.0. */
  async #trimOld(old: Member): Promise<void> {
    await fetch(`${await urlOf(old)}/api/v1/checkpoints?await=true`, { method: "POST" }).then((answer) =>
      answer.text(),
    );
    await fetch(`${await urlOf(old)}/api/v1/checkpoints/newest/verify`, { method: "POST" }).then((answer) =>
      answer.text(),
    );
    const { stdout } = await this.#cluster.command(this.#first, old, "log", "trim");
    if (!stdout.startsWith("trimmed")) this.#cluster.violated(old, `the log is not trimmed: ${stdout}`);
    const joining = await this.#cluster.add("joining-late", NEW, OLD_STREAM);
    await this.#refused(joining, NEW, OLD_STREAM, REFUSED_BY_NEW);
  }

  async #status(member: Member): Promise<NodeStatus> {
    const status = await this.#cluster.statusOf(member);
    if (status === undefined) throw new Error(`${member.id} is not running.`);
    return status;
  }

  async #fingerprint(stream: string): Promise<Fingerprint> {
    return await fingerprintOf(this.#cluster.nats.url, stream, this.#cluster.checkpoints);
  }

  async #unchanged(member: Member, stream: string, before: Fingerprint): Promise<void> {
    for (const problem of harmDone(before, await this.#fingerprint(stream), member.id)) {
      this.#cluster.violated(member, problem);
    }
  }
}

async function urlOf({ process: running }: Member): Promise<string> {
  return (await running?.url()) ?? "";
}
