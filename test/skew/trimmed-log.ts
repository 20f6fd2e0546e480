import type { NodeStatus } from "@cairn/node";
import { type Build, NEW } from "./builds.ts";
import { requestCheckpoint, saveCheckpoint } from "./node-requests.ts";
import type { Member, SkewCluster } from "./skew-cluster.ts";

/** Verifies the newest checkpoint of a ready node's version, and trims the log with the command of that version. */
export async function trimLog(cluster: SkewCluster, random: () => number): Promise<void> {
  const ready = await cluster.ready();
  const member = ready[Math.floor(random() * ready.length)];
  if (member === undefined) return;
  await requestCheckpoint(cluster, member);
  const verify = `${await member.process?.url()}/api/v1/checkpoints/newest/verify`;
  await fetch(verify, { method: "POST" }).then((answer) => answer.text());
  await cluster.fold();
  cluster.expected.add("LOG_TRIMMED");
  const { code, stdout, stderr } = await cluster.command(member.build, member, "log", "trim");
  if (code !== 0) cluster.violated(member, `log trim exited with code ${code}: ${stderr}`);
  cluster.figures.count(stdout.startsWith("trimmed") ? "logs trimmed" : "logs not trimmed");
}

/**
 * Follows the hint of a node that failed with `LOG_TRIMMED`. Restarts it with a new checkpoint of another
 * node of its version, if one is ready, or else as the other version.
 */
export async function followHint(
  cluster: SkewCluster,
  member: Member,
  other: Build,
  hint: string,
): Promise<NodeStatus> {
  // Only this version's text is checked, because the text of a release can no longer change.
  if (member.build === NEW && !/run that (?:cairn|version)|join from/i.test(hint))
    cluster.violated(member, `it does not say to run the other version: ${hint}`);
  const sameVersion = (await cluster.ready()).find(({ build }) => build === member.build);
  if (sameVersion !== undefined) await saveCheckpoint(cluster, sameVersion);
  const way = sameVersion === undefined ? "as the other version" : "again, from a checkpoint of its version";
  cluster.figures.count(`nodes that failed with LOG_TRIMMED, started ${way}`);
  await cluster.end(member, "stop");
  const status = await cluster.start(member, sameVersion?.build ?? other);
  if (status.phase !== "ready")
    cluster.violated(member, `following "${hint}" ends with ${JSON.stringify(status.failure)}`);
  return status;
}
