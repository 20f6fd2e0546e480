import { cp, rename } from "node:fs/promises";
import type { NodeStatus } from "@cairn/node";
import { quiet } from "./checks.ts";
import type { Member } from "./life-cluster.ts";
import { reloadFromBackup, reloadOrphans } from "./reload.ts";
import type { Copy, Life } from "./state.ts";
import { copyLog, isBackedUp, removeIndex, saveCheckpoint, startAll, type Step } from "./steps.ts";
import { REUSES } from "./writing.ts";

const NOTICED_WITHIN_SECONDS = 30;

/** What loses a log, or a part of it, although some index, checkpoint or backup has everything that was acknowledged. */
export const LOSSES: Readonly<Record<string, Step>> = {
  "lose the log": async (life, member) => {
    if (!(await isSafe(life))) return;
    await endEmbedded(life, member);
    await life.cluster.log.replaceWith(undefined);
    await notice(life);
  },
  "remove the stream": async (life, member) => {
    if (!(await isSafe(life))) return;
    await endEmbedded(life, member);
    await life.cluster.log.remove();
    await notice(life);
  },
  "put an older log back": async (life, member) => {
    const copy = newestOf(life.logs, life);
    if (copy === undefined) return await copyLog(life);
    if (!(await isSafe(life))) return;
    const { cluster, picks } = life;
    // Without the indexes, only a checkpoint has everything.
    const empties = picks.next() < 0.4 && (await saveCheckpoint(life));
    const emptied = !empties ? [] : picks.next() < 0.5 ? cluster.members : [member];
    if (cluster.isEmbedded || empties)
      await Promise.all(cluster.members.map((one) => cluster.end(one, "kill")));
    for (const one of emptied) await removeIndex(life, one);
    await cluster.log.replaceWith(copy.folder);
    life.model.lost(copy.at);
    await notice(life);
  },
  "put an older machine back": async (life, member) => {
    const copy = newestOf(life.machines, life);
    if (copy === undefined) return await copyLog(life);
    if (!(await isSafe(life, true)) || !(await saveCheckpoint(life))) return;
    if (life.cluster.scene.backup !== undefined && life.picks.next() < 0.5) {
      // Only the backup has these.
      await life.writer.write(5);
      if ((await quiet(life.cluster, 20)) === undefined || !(await isBackedUp(life))) return;
    }
    await life.cluster.end(member, "kill");
    await rename(member.dir, `${member.dir}-before-${life.model.losses}`);
    await cp(copy.folder, member.dir, { recursive: true });
    life.model.lost(copy.at);
    await notice(life);
  },
  "go back before a transaction": async (life, member) => {
    const { cluster, picks, model } = life;
    const end = await quiet(cluster, 20);
    const isCovered = await isBackedUp(life);
    if (end === undefined || end < 10 || !isCovered) return;
    const target = end - picks.below(8);
    const planned = await cluster.besideLog(`log recover --at-tx ${target} --dry-run`, member);
    if (planned.code !== 0) return;
    const runs = cluster.isEmbedded && member.process?.exited === false;
    await endEmbedded(life, member);
    await cluster.log.replaceWith(undefined);
    const done = await cluster.until(60, async () => {
      const { code } = await cluster.cairn(`log recover --at-tx ${target} --yes`, member);
      return code === 0 ? true : undefined;
    });
    if (done !== true) cluster.violated(`cairn log recover --at-tx ${target} did not succeed`);
    model.lost(target);
    if (runs) await cluster.start(member);
    await notice(life);
    if (!(await life.operator.settle("going back"))) return;
    await reloadFromBackup(life);
  },
};

/** Whether all nodes run and have everything that the log has; if it must be complete, also what it had lost. */
async function isSafe(life: Life, isComplete = false): Promise<boolean> {
  await startAll(life);
  if (!(await life.operator.settle("before a loss"))) return false;
  if (isComplete || !life.isPending || life.picks.next() < 0.5) await reloadOrphans(life);
  return (await quiet(life.cluster, 20)) !== undefined;
}

/** Returns one of the newest copies. */
function newestOf(copies: readonly Copy[], { picks }: Life): Copy | undefined {
  const [first, ...rest] = copies.slice(-3);
  return first === undefined ? undefined : picks.of([first, ...rest]);
}

async function endEmbedded({ cluster, picks }: Life, member: Member): Promise<void> {
  const how = picks.of<"kill" | "stop">(["kill", "stop"]);
  if (cluster.isEmbedded || picks.next() < 0.3)
    for (const one of cluster.isEmbedded ? [member] : cluster.members) await cluster.end(one, how);
}

/** Starts the nodes, and waits until one shows that something is wrong. Then clients go on, and use ids again. */
async function notice(life: Life): Promise<void> {
  const { cluster, writer } = life;
  await startAll(life);
  const seen = await cluster.until(NOTICED_WITHIN_SECONDS, async () => {
    const all = await Promise.all(cluster.running.map((member) => cluster.status(member)));
    return all.some((status) => status !== undefined && isNoticed(status)) ? true : undefined;
  });
  if (seen !== true) cluster.note("no node has noticed anything");
  await writer.write(4, REUSES);
  if (await life.operator.settle("after a loss")) await writer.write(8, REUSES);
}

function isNoticed({ phase, join, log }: NodeStatus): boolean {
  return phase === "failed" || join.movedAside.length > 0 || log.warnings.length > 0;
}
