import { writeFile } from "node:fs/promises";
import path from "node:path";
import type { Member } from "./life-cluster.ts";
import type { Life } from "./state.ts";

const ATTEMPTS = 3;
const RESPONDS_WITHIN_SECONDS = 30;

/** Loads again what the log has lost and only indexes in quarantine contain, as the status of each node says. */
export async function reloadOrphans(life: Life): Promise<void> {
  life.isPending = false;
  for (const member of life.cluster.running) {
    const status = await life.cluster.status(member);
    const isLost = status?.findings.some(
      ({ code }) => code === "transactions-lost" || code === "index-uncompared",
    );
    if (isLost === true) await reload(life, member, "log orphans");
  }
}

/** Leaves what the log has lost where it is for now. */
export async function postpone(life: Life): Promise<void> {
  const all = await Promise.all(life.cluster.running.map((member) => life.cluster.status(member)));
  if (all.some((status) => (status?.join.orphans ?? 0) > 0)) life.isPending = true;
}

/** Removes the end that the log has lost from its backup, which does not continue before, as the nodes say. */
export async function repairBackup(life: Life): Promise<void> {
  for (const member of life.cluster.running) {
    const findings = (await life.cluster.status(member))?.findings ?? [];
    if (!findings.some(({ hint }) => hint?.includes("log backup prune --lost") === true)) continue;
    await reload(life, member, "log orphans --from-backup");
    const { code, stderr } = await life.cluster.besideLog("log backup prune --lost", member);
    if (code !== 0) life.cluster.violated(`cairn log backup prune --lost ended with ${code}: ${stderr}`);
    return;
  }
}

/** Loads again what the backup contains and the log does not. */
export async function reloadFromBackup(life: Life): Promise<void> {
  const [member] = life.cluster.running;
  if (member !== undefined && life.cluster.scene.backup !== undefined)
    await reload(life, member, "log orphans --from-backup");
}

async function reload(life: Life, member: Member, command: string): Promise<void> {
  const { cluster, model, operator } = life;
  for (let attempt = 1; attempt <= ATTEMPTS; attempt += 1) {
    const ran = await cluster.until(RESPONDS_WITHIN_SECONDS, async () => {
      const result = await cluster.besideLog(command, member);
      // A cluster of servers that were started again has no leader for a while.
      return result.stderr.startsWith("LOG_UNREACHABLE") ? undefined : result;
    });
    if (ran?.code !== 0) return cluster.violated(`cairn ${command} ended with ${ran?.code}: ${ran?.stderr}`);
    const { stdout } = ran;
    const lines = stdout.split("\n").filter((line) => line !== "");
    if (lines.length === 0 || !(await operator.settle(command))) return;
    const file = path.join(cluster.folder, "orphans.ndjson");
    await writeFile(file, stdout);
    const { code: loaded, stderr } = await cluster.ask(`load ${file} --await`, member);
    if (loaded === 0) return;
    // A line whose precondition no longer holds is aborted: the command says so, and it is for the operator to decide.
    if (/aborted/.test(stderr)) {
      const uids = lines
        .filter((line) => /\["(?:match|enqueue)"/.test(line))
        .join("")
        .matchAll(/"uid":"(u\d+)"/g);
      for (const [, uid = ""] of uids) {
        const write = model.writes.get(uid);
        if (write !== undefined) write.excuse ??= "it was aborted when it was loaded again";
      }
      return;
    }
  }
  cluster.violated(`the output of cairn ${command} could not be loaded`);
}
