import { cp, mkdtemp, readdir, readlink, rm } from "node:fs/promises";
import path from "node:path";
import { filesystemStore } from "@cairn/checkpoint";
import type { Json, Transaction } from "@cairn/client";
import { runNode } from "@cairn/node";
import { seededRandom } from "@cairn/test-support/nodes/seeded-log";
import { checkpointScene, type CheckpointScene } from "@cairn/test-support/nodes/saved-checkpoint";
import { saveCheckpoint } from "@cairn/test-support/stores/save-checkpoint";
import type { CairnNode } from "../../../src/node/node.ts";
import { type Chance, chanceOf } from "../../faults/odd-values.ts";
import { POLICIES, randomHistory } from "../../faults/flips/flip-history.ts";
import { type Acknowledged, IndexStates, type Listed } from "./index-states.ts";
import { type FaultScene, JOIN_FAULTS, type JoinFault, storeWith } from "./join-faults.ts";
import { StaleReaders, type Told } from "./stale-readers.ts";

/** The numbers of transactions between the checkpoints, and after the last one. */
const PARTS = [80, 60, 40, 40];
const MAX_BODY = 1 << 20;
const READS_AFTERWARDS = 50;
/** A node that has refused this many reads will not attach any more. */
const MOST_REFUSALS = 1_000;

/** A log and a folder of checkpoints, from which nodes join. */
export interface JoinScene {
  readonly states: IndexStates;
  readonly digest: string;
  readonly checkpoints: FaultScene["checkpoints"];
  readonly scene: CheckpointScene;
}

/** The result of a join. */
export interface Joined {
  readonly fault: JoinFault;
  readonly told: Told;
  /** Whether the newest checkpoint was not restored. */
  readonly isOlder: boolean;
  /** What the node has left in its db-dir besides the index. */
  readonly left: readonly string[];
  /** What is wrong, beginning with the seed. */
  readonly wrong: readonly string[];
}

export async function joinScene(seed: number): Promise<JoinScene> {
  const chance = chanceOf(seededRandom(seed));
  const scene = await checkpointScene();
  const node = await scene.start("writer");
  await node.ready;
  const acknowledged = await submitted(node, [POLICIES]);
  const checkpoints: string[] = [];
  for (const [part, count] of PARTS.entries()) {
    acknowledged.push(...(await submitted(node, randomHistory(chance, count, `part-${part}`))));
    if (part < PARTS.length - 1) checkpoints.unshift(await saveCheckpoint(node));
  }
  const { digest } = await node.digest();
  await node.close();
  const [newest = "", older = ""] = checkpoints;
  return { scene, digest, checkpoints: [newest, older], states: new IndexStates(acknowledged) };
}

async function submitted(node: CairnNode, transactions: readonly Transaction[]): Promise<Acknowledged[]> {
  const acknowledged: Acknowledged[] = [];
  for (const transaction of transactions) {
    const { txId } = await node.submit(transaction);
    const { txTime } = await node.await(txId);
    acknowledged.push({ txId, transaction, time: Date.parse(txTime) });
  }
  return acknowledged;
}

/** Lets a node join from a copy of the store with a fault that the seed determines, while it is read. */
export async function joinOnce(joining: JoinScene, seed: number): Promise<Joined> {
  const { scene, checkpoints } = joining;
  const fault = JOIN_FAULTS[seed % JOIN_FAULTS.length] ?? { name: "none" };
  const folder = await mkdtemp(path.join(scene.folder, "join-"));
  const dbDir = path.join(folder, "index");
  try {
    const chance = chanceOf(seededRandom(seed));
    const store = path.join(folder, "store");
    await cp(path.join(scene.folder, "checkpoints"), store, { recursive: true });
    const faultScene: FaultScene = { folder: store, checkpoints, faults: {}, chance };
    await fault.first?.(faultScene);
    const joined = await joinWith(joining, fault, faultScene, dbDir);
    const left = (await readdir(dbDir, { recursive: true })).filter((file) => !file.startsWith("live/"));
    const wrong = [...joined.wrong, ...(await leftOpen(folder))];
    return { ...joined, left, wrong: wrong.map((one) => `seed ${seed} (${fault.name}): ${one}`) };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function joinWith(
  joining: JoinScene,
  fault: JoinFault,
  faultScene: FaultScene,
  dbDir: string,
): Promise<Omit<Joined, "left">> {
  const { scene, states, checkpoints } = joining;
  const { folder, chance } = faultScene;
  let readers: StaleReaders | undefined;
  const waits = waitsOf(fault, chance, () => readers);
  const store = storeWith(fault, filesystemStore({ path: folder }), faultScene, waits);
  const http = { host: "127.0.0.1", port: 0, maxBody: MAX_BODY };
  const node = await runNode({ ...scene.system("joining", { store }), dbDir, http });
  try {
    const isRestoring = (): boolean => node.phase === "restoring";
    readers = new StaleReaders({ url: node.url ?? "", states, chance, isRestoring });
    await node.ready;
    await readers.more(READS_AFTERWARDS);
    const told = await readers.end();
    const { restoredFrom, skipped } = (await node.status()).join;
    const isOlder = restoredFrom?.name !== checkpoints[0];
    const wrong = [...told.wrong];
    if (fault.refuses === true && !isOlder) wrong.push(`${restoredFrom?.name} was restored`);
    if (fault.steady === true && told.lapsed > 0)
      wrong.push(`${told.lapsed} reads failed after one succeeded`);
    wrong.push(...(await differences(node, joining)));
    if (wrong.length > 0) wrong.push(`skipped: ${JSON.stringify(skipped)}`);
    return { fault, told, isOlder, wrong };
  } finally {
    await readers?.end();
    await node.close();
  }
}

/** Downloads wait until the node is attached, unless it seems that it will not be, and most for more reads. */
function waitsOf(
  { detached }: JoinFault,
  chance: Chance,
  readers: () => StaleReaders | undefined,
): Parameters<typeof storeWith>[3] {
  const [first, each] = [chance.pick([0, 10, 60, 200]), chance.pick([0, 0, 3, 10])];
  return {
    before: async () => {
      if (detached !== true) await readers()?.firstAnswered(MOST_REFUSALS);
      await readers()?.more(first);
    },
    between: async () => await readers()?.more(each),
  };
}

/** Returns how a node that is ready differs from what the log says. */
async function differences(
  node: CairnNode,
  { states, digest }: Pick<JoinScene, "states" | "digest">,
): Promise<string[]> {
  const wrong: string[] = [];
  const found = await node.digest();
  if (found.digest !== digest || found.txId !== states.last)
    wrong.push(`its digest is ${JSON.stringify(found)}`);
  for (const bucket of states.buckets) {
    const { documents } = await node.list({ bucket, limit: 1_000 });
    const listed = documents.map(({ namespace, name, revision, json }): Listed => {
      return [`${namespace}/${name}`, revision, JSON.parse(json) as Json];
    });
    const all = states.answer({ of: "list", bucket, key: "", limit: 1_000 }, states.last);
    if (JSON.stringify(listed) !== all) wrong.push(`${bucket} differs`);
  }
  return wrong;
}

/** Returns the files below `folder` that this process has left open. */
async function leftOpen(folder: string): Promise<string[]> {
  if (process.platform !== "linux") return [];
  const open: string[] = [];
  for (const descriptor of await readdir("/proc/self/fd")) {
    const file = await readlink(`/proc/self/fd/${descriptor}`).catch(() => "");
    if (file.startsWith(folder)) open.push(`${file} was left open`);
  }
  return open;
}
