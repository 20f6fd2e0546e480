import { seededPicks } from "@cairn/test-support/seeded-random";
import { check, checkExitCodes } from "./checks.ts";
import { Follower } from "./follower.ts";
import { Operator } from "./hints.ts";
import { LifeCluster } from "./life-cluster.ts";
import { LOSSES } from "./losses.ts";
import { Model } from "./model.ts";
import { postpone, reloadOrphans, repairBackup } from "./reload.ts";
import { chooseScene, POLICIES, type Scene } from "./scene.ts";
import type { Life } from "./state.ts";
import { EVERYDAY, isBackedUp, saveCheckpoint, startAll, stepsOf } from "./steps.ts";
import { Writer } from "./writing.ts";

const MAX_VIOLATIONS = 5;
/** The fraction of steps that lose something. */
const LOSS_RATE = 0.35;
/** The fraction of steps after which the operator loads nothing again yet. */
const POSTPONED_RATE = 0.25;
const WRITES_AT_FIRST = 30;

/** Options for {@link live}. */
export interface LifeOptions {
  readonly seed: number;
  readonly steps: number;
  /** The `cairn` command of another build. */
  readonly program?: string;
  /** Overrides a part of the scene that the seed chooses. */
  readonly scene?: Partial<Scene>;
  readonly signal?: AbortSignal;
}

/** What happened in a life. */
export interface LifeReport {
  readonly violations: readonly string[];
  /** Commands of hints that were refused, with the reasons. */
  readonly refused: readonly string[];
  readonly folder: string;
  readonly scene: Scene;
  readonly counts: ReadonlyMap<string, number>;
}

/** Lives one life: random steps of operators and clients, which depend only on the seed, and checks after each. */
export async function live({ seed, steps, program, scene: given, signal }: LifeOptions): Promise<LifeReport> {
  const scene = { ...chooseScene(seededPicks(seed)), ...given };
  const cluster = await LifeCluster.open(scene, program);
  const model = new Model();
  const picksOf = (step: number): Life["picks"] => seededPicks(seed * 10_007 + step);
  const writer = new Writer(cluster, model, picksOf(0));
  const follower = new Follower(cluster, model, picksOf(1), "things");
  const operator = new Operator(cluster, model);
  const life: Life = {
    cluster,
    model,
    writer,
    operator,
    follower,
    logs: [],
    machines: [],
    indexes: new Map(),
    isPending: false,
    picks: picksOf(2),
  };
  const counts = new Map<string, number>();
  const count = (what: string, times = 1): unknown => counts.set(what, (counts.get(what) ?? 0) + times);
  const checked = async (): Promise<void> => {
    await check(life);
    count("checks");
  };
  cluster.note(`seed ${seed}: ${JSON.stringify(scene)}`);
  try {
    await begin(life);
    await checked();
    for (let n = 0; n < steps; n += 1) {
      if (signal?.aborted === true) break;
      life.picks = picksOf(3 + n * 2);
      writer.picks = picksOf(4 + n * 2);
      count(await takeStep(life, n));
      if (await operator.settle(`step ${n}`)) {
        if (life.picks.next() < POSTPONED_RATE) await postpone(life);
        else await reloadOrphans(life);
        await repairBackup(life);
        await operator.settle("before writes");
        await writer.write(10 + life.picks.below(20));
      }
      await checked();
      if (
        cluster.violations.length >= MAX_VIOLATIONS ||
        cluster.violations.some((one) => one.startsWith("STUCK"))
      )
        break;
    }
    if (cluster.violations.length === 0) await end(life, checked);
  } catch (error) {
    // What follows the end of a life by a signal is no violation.
    if (signal?.aborted !== true)
      cluster.violated(`the life ended: ${error instanceof Error ? error.stack : String(error)}`);
  } finally {
    await follower.finish();
    await cluster.close();
  }
  count("steps", steps);
  count("hints followed", operator.followed);
  count("hints refused", operator.refused.length);
  for (const [state, times] of writer.counts) count(`writes ${state}`, times);
  return { violations: cluster.violations, refused: operator.refused, folder: cluster.folder, scene, counts };
}

async function begin(life: Life): Promise<void> {
  const { cluster, writer, operator } = life;
  await startAll(life);
  await operator.settle("at first");
  const url = (await cluster.running[0]?.process?.url()) ?? "";
  const { status, body } = await writer.send(url, "PUT", "policies", POLICIES);
  if (status !== 200) throw new Error(`the policies were answered with ${status} ${JSON.stringify(body)}`);
  await writer.write(WRITES_AT_FIRST);
}

/** Takes a random step, and returns its name. */
async function takeStep(life: Life, n: number): Promise<string> {
  const { cluster, picks, writer } = life;
  const table = picks.next() < LOSS_RATE ? LOSSES : EVERYDAY;
  const [first = "", ...rest] = stepsOf(table, cluster.scene);
  // Without a copy, nothing older can be put back.
  const name = n === 1 ? "copy the log" : picks.of([first, ...rest]);
  const [member, ...others] = cluster.members;
  if (member === undefined) return name;
  cluster.note(`STEP ${n}: ${name}`);
  await (table[name] ?? EVERYDAY[name])?.(life, picks.of([member, ...others]));
  if (picks.next() < 0.3) await writer.write(3);
  return name;
}

/** Starts all nodes again, and lets a new one join, which must have the same digest. */
async function end(life: Life, checked: () => Promise<void>): Promise<void> {
  const { cluster, operator, model, writer } = life;
  const { members } = cluster;
  cluster.note("END");
  await startAll(life);
  if (!(await operator.settle("at the end"))) return;
  await reloadOrphans(life);
  await repairBackup(life);
  await checked();
  await checkExitCodes(cluster);
  const [first] = members;
  if (first === undefined) return;
  if (cluster.isEmbedded) {
    await cluster.end(first);
    // Another id has another db-dir, which is empty, beside the same log.
    const renamed = await cluster.member("anew", first.dir);
    Object.assign(first, { id: renamed.id, config: renamed.config });
  } else members.push(await cluster.member("anew"));
  await startAll(life);
  if (await operator.settle("a new node")) await checked();
  if (cluster.scene.backup !== undefined) {
    // A rebuild is compared with a checkpoint whose last transaction is in the backup.
    await writer.write(2);
    if (!(await saveCheckpoint(life))) cluster.violated("no checkpoint could be saved at the end");
    if (!(await isBackedUp(life))) cluster.violated("the backup does not reach the end of the log");
    const { code, stderr } = await cluster.besideLog("log backup verify --rebuild", first);
    if (code !== 0) cluster.violated(`cairn log backup verify --rebuild ended with ${code}: ${stderr}`);
  }
  cluster.note(`${model.writes.size} transactions, ${model.losses} losses`);
}
