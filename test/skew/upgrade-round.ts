import type { NodeStatus } from "@cairn/node";
import { runCairn } from "@cairn/test-support/cairn-process";
import { seededRandom } from "@cairn/test-support/seeded-random";
import { AcknowledgedHistory, differences, type Operation } from "./acknowledged.ts";
import { type Build, NEW } from "./builds.ts";
import type { Figures } from "./figures.ts";
import { requestCheckpoint, documentsOf, submitBatch } from "./node-requests.ts";
import { type Member, SkewCluster } from "./skew-cluster.ts";
import { followHint, trimLog } from "./trimmed-log.ts";
import { BUCKETS, Writers } from "./writers.ts";

const BATCH = 1_200;
const AWAIT_MS = 60_000;

/** Upgrades and downgrades the nodes of a cluster at random. In a third of the rounds, the log is also trimmed. */
export class UpgradeRound {
  readonly #cluster: SkewCluster;
  readonly #figures: Figures;
  readonly #other: Build;
  readonly #random: () => number;
  readonly #history = new AcknowledgedHistory();
  readonly #isTrimmed: boolean;

  constructor(cluster: SkewCluster, other: Build, seed: number) {
    this.#cluster = cluster;
    this.#figures = cluster.figures;
    this.#other = other;
    this.#random = seededRandom(seed);
    this.#isTrimmed = this.#pick(3) === 0;
  }

  /** Runs the round. Violations are added to the figures of the cluster, which the caller closes. */
  async run(): Promise<void> {
    const cluster = this.#cluster;
    const size = 3 + this.#pick(3);
    for (let n = 0; n < size; n += 1) await cluster.add(`node-${n}`, this.#build());
    for (const member of cluster.members) await cluster.start(member, member.build);
    await this.#load();
    const writers = new Writers(cluster, this.#history, seededRandom(this.#pick(2 ** 31)));
    try {
      const steps = 8 + this.#pick(5);
      for (let step = 0; step < steps; step += 1) {
        await this.#step();
        await cluster.inspect();
      }
      await this.#compareNodes();
      await this.#finish();
    } finally {
      await writers.finish();
    }
    await this.#judge();
  }

  /** Writes enough transactions for the chains to have links. */
  async #load(): Promise<void> {
    const url = (await this.#member().process?.url()) ?? "";
    const lines = Array.from({ length: BATCH }, (_, n) => {
      const op: Operation = ["put", "pods", `load/d${n % 500}`, { n, text: "x".repeat(200) }];
      return { id: `load-${n}`, ops: [op] };
    });
    await submitBatch(url, lines, this.#history);
  }

  async #step(): Promise<void> {
    const kind = this.#pick(this.#isTrimmed ? 12 : 10);
    if (kind < 5) await this.#replace();
    else if (kind < 7) await requestCheckpoint(this.#cluster, this.#member());
    else if (kind < 8) await this.#interrupt();
    else if (kind < 10) await this.#prune();
    else await trimLog(this.#cluster, this.#random);
  }

  /** Ends a node and starts it as either version, with its db-dir or without. */
  async #replace(): Promise<void> {
    const member = this.#member();
    await this.#cluster.end(member, this.#pick(2) === 0 ? "kill" : "stop");
    if (this.#pick(3) === 0) await this.#cluster.empty(member);
    await this.#startAs(member, this.#build());
  }

  /** Kills a node at a random instant while it starts, or just after it is ready. */
  async #interrupt(): Promise<void> {
    const member = this.#member();
    await this.#cluster.end(member, "kill");
    const process = this.#cluster.spawn(member, this.#build());
    member.indexVersion = undefined;
    await process.url();
    for (let requests = this.#pick(6); requests > 0; requests -= 1) await process.status();
    await this.#cluster.end(member, "kill");
    await this.#startAs(member, this.#build());
  }

  /** Prunes the store with a configuration or with its folder alone. Either must keep the other version's checkpoints. */
  async #prune(): Promise<void> {
    const build = this.#build();
    const args =
      this.#pick(2) === 0
        ? ["-f", this.#member().config]
        : [this.#cluster.checkpoints, "--retain-at-least", "2"];
    const { code, stderr } = await runCairn(["checkpoint", "prune", ...args], { program: build.program });
    this.#figures.count(`stores pruned by the ${build.name} version`);
    if (code !== 0)
      this.#figures.violated(`checkpoint prune of the ${build.name} version: ${code}: ${stderr}`);
  }

  /** Starts a node. If it fails with `LOG_TRIMMED`, follows its hint. */
  async #startAs(member: Member, build: Build): Promise<NodeStatus> {
    const status = await this.#cluster.start(member, build);
    if (status.phase === "ready") return status;
    if (status.failure?.code !== "LOG_TRIMMED") return status;
    const other = build === NEW ? this.#other : NEW;
    return await followHint(this.#cluster, member, other, status.failure.hint ?? "");
  }

  /** Compares all nodes with the command of each version while both versions run. */
  async #compareNodes(): Promise<void> {
    const [member] = this.#cluster.members;
    if (member === undefined) return;
    for (const build of [NEW, this.#other]) {
      const { code, stdout, stderr } = await this.#cluster.command(
        build,
        member,
        "status",
        "--cluster",
        "--digest",
      );
      this.#figures.count(`clusters compared by the ${build.name} version`);
      if (code !== 0)
        this.#figures.violated(`status --cluster of the ${build.name} version: ${code}: ${stdout}${stderr}`);
    }
  }

  /**
   * Moves every node to the version of this checkout, which may be the earlier one, so that a checkpoint is built for it.
   * If a trimmed log keeps that version from joining, the other version stays.
   */
  async #finish(): Promise<void> {
    const [first] = this.#cluster.members;
    if (first === undefined) return;
    if (!this.#isTrimmed) {
      const verified = await this.#cluster.command(NEW, first, "checkpoint", "verify");
      if (verified.code !== 0) this.#figures.violated(`before the upgrade: ${verified.stderr}`);
    }
    const isNew = (await this.#cluster.ready()).find(({ build }) => build === NEW);
    if (isNew !== undefined) await requestCheckpoint(this.#cluster, isNew);
    for (const member of this.#cluster.members) {
      if (member.build === NEW && member.process !== undefined) continue;
      await this.#cluster.end(member, "stop");
      const status = await this.#startAs(member, NEW);
      if (member.build !== NEW) return await this.#stay();
      const { restoredFrom, movedAside } = status.join;
      if (!this.#isTrimmed && restoredFrom === null && movedAside.length > 0)
        this.#cluster.violated(
          member,
          "a node without its index did not restore the checkpoint created for it",
        );
    }
  }

  /**
   * Returns the whole cluster to the other version, because the new version has nothing from which nodes could join.
   */
  async #stay(): Promise<void> {
    this.#figures.count("clusters that a trimmed log left with the other version");
    for (const member of this.#cluster.members) {
      if (member.build === this.#other && member.process !== undefined) continue;
      await this.#cluster.end(member, "stop");
      await this.#cluster.start(member, this.#other);
    }
  }

  async #judge(): Promise<void> {
    const cluster = this.#cluster;
    const fold = await cluster.fold();
    for (const lost of this.#history.lost((id) => fold.transactionOf(id))) this.#figures.violated(lost);
    this.#figures.count("transactions acknowledged", this.#history.size);
    const versions = new Set(cluster.members.map(({ build }) => build));
    if (versions.size !== 1) this.#figures.violated("at the end, the nodes do not all have the same version");
    const expected = this.#history.documents();
    for (const member of cluster.members) {
      const url = await member.process?.url();
      await fetch(`${url}/api/v1/tx/${fold.txId}?timeout=${AWAIT_MS}`).then((answer) => answer.text());
      const found = await member.process?.digest();
      if (found?.txId !== fold.txId || found.digest !== fold.digest())
        cluster.violated(member, `${JSON.stringify(found)} is not the log's ${fold.txId} ${fold.digest()}`);
      for (const problem of differences(expected, await documentsOf(member, BUCKETS)))
        cluster.violated(member, problem);
      // The request makes the node compare its history with the newest checkpoint.
      await requestCheckpoint(this.#cluster, member);
    }
    await cluster.inspect();
    const phases = await cluster.ready();
    if (phases.length !== cluster.members.length)
      this.#figures.violated(`at the end, only ${phases.length} nodes are ready`);
  }

  #member(): Member {
    const member = this.#cluster.members[this.#pick(this.#cluster.members.length)];
    if (member === undefined) throw new Error("The cluster has no nodes.");
    return member;
  }

  #build(): Build {
    return this.#pick(2) === 0 ? NEW : this.#other;
  }

  #pick(count: number): number {
    return Math.floor(this.#random() * count);
  }
}
