import { setTimeout as delay } from "node:timers/promises";
import { mustCairn } from "../support/cairn-process.ts";
import type { AcknowledgedHistory, Held, Operation } from "./acknowledged.ts";
import type { Member, SkewCluster } from "./skew-cluster.ts";

const SAVED_WITHIN_MS = 60_000;

/** Submits transactions in one request, and adds them to the history of what was acknowledged. */
export async function submitBatch(
  url: string,
  lines: readonly { readonly id: string; readonly ops: readonly Operation[] }[],
  history: AcknowledgedHistory,
): Promise<void> {
  const body = lines.map((line) => JSON.stringify(line)).join("\n");
  const headers = { "content-type": "application/x-ndjson" };
  const answer = await fetch(`${url}/api/v1/tx/batch?await=true`, { method: "POST", headers, body });
  const said = (await answer.json()) as { firstTxId: number; accepted: number };
  if (answer.status !== 200 || said.accepted !== lines.length)
    throw new Error(`A batch got ${JSON.stringify(said)}.`);
  for (const [n, { id, ops }] of lines.entries()) history.add(said.firstTxId + n, id, ops);
}

/** All documents of a node, as the command of its version lists them. */
export async function documentsOf(
  { process, build }: Pick<Member, "process" | "build">,
  buckets: readonly string[],
): Promise<Map<string, Held>> {
  const found = new Map<string, Held>();
  for (const bucket of buckets) {
    const args = ["list", bucket, "--all", "--json", "--url", (await process?.url()) ?? ""];
    const { stdout } = await mustCairn(args, { program: build.program });
    for (const line of stdout.split("\n").filter((text) => text !== "")) {
      const { namespace, name, revision, document } = JSON.parse(line) as Held & {
        namespace: string;
        name: string;
      };
      found.set(`${bucket} ${namespace}/${name}`, { revision, document });
    }
  }
  return found;
}

/** Lets a node save a checkpoint now; in a round whose log is trimmed it may be one that is not ready. */
export async function askCheckpoint(cluster: SkewCluster, member: Member): Promise<string | undefined> {
  const url = `${await member.process?.url()}/api/v1/checkpoints?await=true`;
  const answer = await fetch(url, { method: "POST" });
  const said = (await answer.json()) as { name?: string; skipped?: string; error?: { code: string } };
  const code = said.error?.code;
  const { figures, expected } = cluster;
  figures.count(`checkpoints asked for: ${said.name === undefined ? (said.skipped ?? code) : "saved"}`);
  const isRefused = code === "CHECKPOINT_RUNNING" || (code === "NOT_READY" && expected.has("LOG_TRIMMED"));
  if (answer.status !== 200 && !isRefused)
    cluster.violated(member, `a checkpoint is answered with ${JSON.stringify(said)}`);
  return said.name ?? said.skipped;
}

/** Asks until the node's own checkpoint holds all that it has: one may be on its way of itself, of this node or of another. */
export async function saveCheckpoint(cluster: SkewCluster, member: Member): Promise<void> {
  const deadline = Date.now() + SAVED_WITHIN_MS;
  for (;;) {
    const answer = await askCheckpoint(cluster, member);
    if (answer !== undefined && answer !== "leased") return;
    if (Date.now() > deadline)
      throw new Error(`${member.id} saved no checkpoint within ${SAVED_WITHIN_MS} ms.`);
    await delay(100);
  }
}
