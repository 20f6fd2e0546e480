import { cp, mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { newIdentity } from "@cairn/checkpoint/testing";
import { startTimer } from "@cairn/kv";
import { quiet } from "./checks.ts";
import type { Member } from "./life-cluster.ts";
import { difference, readDocuments, TRACKED } from "./reading.ts";
import { configOf, keyFileOf, readerOf, type Scene } from "./scene.ts";
import type { Life } from "./state.ts";

/** A step of a life. `member` is a node chosen at random, which may not run. */
export type Step = (life: Life, member: Member) => Promise<unknown>;

const BACKED_UP_WITHIN_SECONDS = 20;
/** Leases and connections end during the longest pauses. */
const PAUSE_MS = 12_000;

/** What operators and clients do on any day. */
export const EVERYDAY: Readonly<Record<string, Step>> = {
  write: async ({ writer, picks }) => await writer.write(5 + picks.below(20)),
  kill: async ({ cluster, picks }, member) => {
    await cluster.end(member, "kill");
    member.isWanted = picks.next() < 0.5;
  },
  stop: async ({ cluster, picks }, member) => {
    await cluster.end(member);
    member.isWanted = picks.next() < 0.5;
  },
  "start all": startAll,
  "kill all": async (life) => {
    await Promise.all(life.cluster.members.map((member) => life.cluster.end(member, "kill")));
    await startAll(life);
  },
  "save a checkpoint": saveCheckpoint,
  "verify a checkpoint": async ({ cluster }, member) => await cluster.besideLog("checkpoint verify", member),
  "prune checkpoints": async ({ cluster, picks }, member) => {
    const more = picks.of(["", " --damaged", " --other-logs", " --dry-run"]);
    await cluster.besideLog(`checkpoint prune --retain-at-least 1${more}`, member);
  },
  "trim the log": async ({ cluster }, member) => await cluster.besideLog("log trim --keep PT0S", member),
  "show the log": async ({ cluster }, member) => {
    const { code, stderr } = await cluster.besideLog("log status", member);
    if (code !== 0) cluster.violated(`cairn log status ended with ${code}: ${stderr}`);
  },
  "empty a node": async (life, member) => {
    await life.cluster.end(member, "kill");
    await removeIndex(life, member);
    await life.cluster.start(member);
  },
  "copy a node": async ({ cluster, indexes }, member) => {
    await cluster.end(member, "kill");
    const copy = path.join(cluster.folder, `copy-of-${member.id}-${indexes.size}`);
    await cp(member.dir, copy, { recursive: true });
    indexes.set(member.dir, copy);
    await cluster.start(member);
  },
  "put an older node back": async ({ cluster, indexes, isPending }, member) => {
    const copy = indexes.get(member.dir);
    if (copy === undefined || isPending) return;
    await cluster.end(member, "kill");
    await rm(member.dir, { recursive: true });
    await cp(copy, member.dir, { recursive: true });
    await cluster.start(member);
  },
  "copy the log": copyLog,
  "restore a checkpoint as an index": async ({ cluster, picks }, member) => {
    const folder = path.join(cluster.folder, `restored-${picks.below(1e9)}`);
    const restored = await cluster.besideLog(`checkpoint restore -o ${folder}`, member);
    if (restored.code !== 0) return;
    const { code, stderr } = await cluster.shell(`cairn db check ${folder}`);
    if (code !== 0) cluster.violated(`a restored checkpoint is damaged: ${stderr}`);
    if (picks.next() < 0.5) return;
    await cluster.end(member);
    const live = path.join(indexOf(member), "live");
    await rm(live, { recursive: true, force: true });
    await mkdir(indexOf(member), { recursive: true });
    await cp(folder, live, { recursive: true });
    await cluster.start(member);
  },
  "another cluster uses the store": async ({ cluster, writer }) => {
    const dir = path.join(cluster.folder, "other");
    const log = { "cairn/module": "cairn.embedded/->tx-log", path: `${dir}/the-log` };
    const other = await cluster.member(
      "other",
      dir,
      configOf(cluster.scene, "other", dir, cluster.places, { log }),
    );
    await cluster.start(other);
    const url = (await other.process?.url()) ?? "";
    for (let n = 0; n < 5; n += 1) await writer.send(url, "PUT", `things/default/k${n}`, { foreign: n });
    await cluster.ask("checkpoint create", other);
    await cluster.end(other);
  },
  "clear the quarantine": async ({ cluster }, member) => {
    const status = await cluster.status(member);
    if (status?.phase !== "ready" || status.join.orphans > 0 || status.join.uncompared.length > 0) return;
    await rm(path.join(indexOf(member), "quarantine"), { recursive: true, force: true });
  },
  "move to another cluster": moveAway,
  "rename a node": async ({ cluster, picks, isPending }, member) => {
    // The new id has another db-dir, and what is in quarantine in the old one would be counted no more.
    if (isPending) return;
    await cluster.end(member);
    const renamed = await cluster.member(`${member.id.slice(0, 1)}${picks.below(1_000)}`, member.dir);
    member.id = renamed.id;
    member.config = renamed.config;
    await cluster.start(member);
  },
  "read the backup": readBackup,
  "servers stop": async ({ cluster, writer, picks }) => {
    const { servers } = cluster.log;
    const down = picks.next() < 0.5 ? servers : servers.slice(0, 1);
    await Promise.all(down.map((server) => (picks.next() < 0.5 ? server.kill() : server.stop())));
    await writer.write(2);
    await Promise.all(down.map((server) => server.start()));
  },
  "pause a node": async ({ writer, picks }, member) => {
    const { process: node } = member;
    if (node === undefined || node.exited) return;
    node.signal("SIGSTOP");
    await whileFor(PAUSE_MS * picks.next(), () => node.signal("SIGCONT"), writer.write(4));
  },
  "pause the servers": async ({ cluster, writer, picks }) => {
    const { servers } = cluster.log;
    const frozen = picks.next() < 0.5 ? servers : servers.slice(0, 1);
    for (const server of frozen) server.freeze();
    const thaw = (): void => frozen.forEach((server) => server.thaw());
    await whileFor(PAUSE_MS * picks.next(), thaw, writer.write(3));
  },
  "add a key": async ({ cluster, picks }) => {
    const file = keyFileOf(cluster.places);
    const keys = await readFile(file, "utf8");
    const added = `${newIdentity()}\n`;
    await writeFile(file, picks.next() < 0.5 ? added + keys : keys + added);
    for (const member of cluster.running) {
      await cluster.end(member);
      await cluster.start(member);
    }
  },
  "change the version of the own index": async ({ cluster, picks }, member) => {
    await cluster.end(member, picks.of<"kill" | "stop">(["kill", "stop"]));
    const config = configOf(cluster.scene, member.id, member.dir, cluster.places, {
      version: 1 + picks.below(3),
    });
    await writeFile(member.config, JSON.stringify(config));
    await cluster.start(member);
  },
};

/** Calls `end` after some time, even if `work` takes longer, and waits for both. */
async function whileFor(ms: number, end: () => void, work: Promise<unknown>): Promise<void> {
  const over = new Promise<void>((resolve) => {
    startTimer(ms, () => resolve(end()));
  });
  await Promise.all([over, work]);
}

/** The steps that not every scene has. */
const NEEDS: Readonly<Record<string, (scene: Scene) => boolean>> = {
  "copy a node": ({ log }) => log !== "embedded",
  "put an older node back": ({ log }) => log !== "embedded",
  "put an older machine back": ({ log }) => log === "embedded",
  "remove the stream": ({ log }) => log !== "embedded",
  "servers stop": ({ log }) => log !== "embedded",
  "pause the servers": ({ log }) => log !== "embedded",
  "add a key": ({ isEncrypted }) => isEncrypted,
  "change the version of the own index": ({ ownIndex }) => ownIndex !== undefined,
  "read the backup": ({ backup }) => backup !== undefined,
  "go back before a transaction": ({ backup }) => backup !== undefined,
};

/** Returns the names of the steps in a table that a scene can take. */
export function stepsOf(table: Readonly<Record<string, Step>>, scene: Scene): string[] {
  return Object.keys(table).filter((name) => NEEDS[name]?.(scene) ?? true);
}

/** Returns the db-dir of a node. */
export function indexOf({ dir, id }: Member): string {
  return path.join(dir, `${id}-index`);
}

/** Removes a node's index and, unless something is only there, what it has in quarantine. */
export async function removeIndex({ isPending }: Life, member: Member): Promise<void> {
  const gone = isPending ? path.join(indexOf(member), "live") : indexOf(member);
  await rm(gone, { recursive: true, force: true });
}

export async function startAll({ cluster }: Pick<Life, "cluster">): Promise<void> {
  for (const member of cluster.members) await cluster.start(member);
}

/** Requests a checkpoint until the newest one contains everything. Returns whether one does. */
export async function saveCheckpoint({ cluster }: Life): Promise<boolean> {
  const [member] = cluster.running;
  if (member === undefined) return false;
  const saved = await cluster.until(30, async () => {
    const { code, stderr } = await cluster.ask("checkpoint create", member);
    // Another node may be uploading.
    return stderr.includes("CHECKPOINT_RUNNING") ? undefined : code === 0;
  });
  return saved === true;
}

/** Copies the log and, of an embedded node, the whole machine. */
export async function copyLog({ cluster, logs, machines, writer, picks }: Life): Promise<void> {
  const end = await quiet(cluster, 20);
  const [member] = cluster.members;
  if (end === undefined || member === undefined) return;
  const folder = path.join(cluster.folder, `copy-of-log-${logs.length}`);
  await cluster.withoutNode(member, async () => {
    await cluster.log.copyTo(folder);
    logs.push({ folder, at: end });
    if (!cluster.isEmbedded) return;
    const machine = path.join(cluster.folder, `copy-of-machine-${machines.length}`);
    await cp(member.dir, machine, { recursive: true });
    machines.push({ folder: machine, at: end });
  });
  await writer.write(3 + picks.below(8));
  await writer.write(2, ["order"]);
}

/** Exports two buckets to a new cluster, which must then have the same content. */
async function moveAway({ cluster, picks }: Life): Promise<void> {
  const [member] = cluster.running;
  if (member === undefined || (await quiet(cluster, 20)) === undefined) return;
  const dir = path.join(cluster.folder, `moved-${picks.below(1e9)}`);
  const log = { "cairn/module": "cairn.embedded/->tx-log", path: `${dir}/the-log` };
  const moved = await cluster.member("moved", dir, {
    "cairn/node": { id: "moved", dir },
    "cairn/tx-log": log,
  });
  await cluster.start(moved);
  const [from, to] = [await member.process?.url(), await moved.process?.url()];
  await moved.process?.ready();
  for (const bucket of ["things", "orders"]) {
    await cluster.shell(`cairn export --bucket ${bucket} --url ${from} | cairn load - --await --url ${to}`);
    const [one, other] = [
      await cluster.ask(`export --bucket ${bucket} --digest`, member),
      await cluster.ask(`export --bucket ${bucket} --digest`, moved),
    ];
    if (one.code !== 0 || one.stdout !== other.stdout)
      cluster.violated(`an export of ${bucket} differs: ${one.stdout}${one.stderr} and ${other.stdout}`);
  }
  await cluster.end(moved);
}

/** Waits until the backup has everything. Returns whether it has. */
export async function isBackedUp({ cluster }: Life): Promise<boolean> {
  const found = await cluster.until(BACKED_UP_WITHIN_SECONDS, async () => {
    const all = await Promise.all(cluster.running.map((member) => cluster.status(member)));
    return all.some((status) => status?.logBackup?.exposed?.transactions === 0) ? true : undefined;
  });
  return found === true;
}

/** Starts a node that reads the backup, and compares it with a node of the log. */
async function readBackup(life: Life): Promise<void> {
  const { cluster } = life;
  const [member] = cluster.running;
  // A backup does not continue before an end that the log has lost.
  if (member === undefined || !(await isBackedUp(life))) return;
  const dir = path.join(cluster.folder, "reader");
  const config = configOf(cluster.scene, "reader", dir, cluster.places);
  const reader = await cluster.member("reader", dir, readerOf(config));
  await cluster.start(reader);
  const ready = await cluster.until(20, async () => {
    const status = await cluster.status(reader);
    return status?.phase === "ready" ? status : undefined;
  });
  const [its, url] = [(await reader.process?.url()) ?? "", (await member.process?.url()) ?? ""];
  const end = ready?.index.txId ?? undefined;
  const writers = await cluster.status(member);
  // While the log continues an earlier point, the reader still has what the log has lost.
  if (end !== undefined && writers?.phase === "ready" && ready?.log.id === writers.log.id) {
    for (const bucket of TRACKED) {
      const [one, other] = [await readDocuments(its, bucket, end), await readDocuments(url, bucket, end)];
      const problem = difference(one, other);
      if (problem !== undefined)
        cluster.violated(`a reader of the backup differs at ${end}: ${bucket} ${problem}`);
    }
  } else cluster.note(`the reader is ${ready?.phase} at ${end}`);
  await cluster.end(reader);
  if ((await readdir(dir)).length > 0) await rm(dir, { recursive: true });
}
