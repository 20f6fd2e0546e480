import { setTimeout as delay } from "node:timers/promises";
import { runCairnOrThrow } from "@cairn/test-support/cairn-process";
import type { AcknowledgedHistory, StoredDocument, Operation } from "./acknowledged.ts";
import type { Member, SkewCluster } from "./skew-cluster.ts";

const SAVE_TIMEOUT_MS = 60_000;

/** Submits transactions in one request and adds them to the acknowledged history. */
export async function submitBatch(
  url: string,
  lines: readonly { readonly id: string; readonly ops: readonly Operation[] }[],
  history: AcknowledgedHistory,
): Promise<void> {
  const body = lines.map((line) => JSON.stringify(line)).join("\n");
  const headers = { "content-type": "application/x-ndjson" };
  const answer = await fetch(`${url}/api/v1/tx/batch?await=true`, { method: "POST", headers, body });
  const result = (await answer.json()) as { firstTxId: number; accepted: number };
  if (answer.status !== 200 || result.accepted !== lines.length)
    throw new Error(`A batch was answered with ${JSON.stringify(result)}.`);
  for (const [n, { id, ops }] of lines.entries()) history.add(result.firstTxId + n, id, ops);
}

/** Lists all documents of a node with the command of its version. */
export async function documentsOf(
  { process, build }: Pick<Member, "process" | "build">,
  buckets: readonly string[],
): Promise<Map<string, StoredDocument>> {
  const found = new Map<string, StoredDocument>();
  for (const bucket of buckets) {
    const args = ["list", bucket, "--all", "--json", "--url", (await process?.url()) ?? ""];
    const { stdout } = await runCairnOrThrow(args, { program: build.program });
    for (const line of stdout.split("\n").filter((text) => text !== "")) {
      const { namespace, name, revision, document } = JSON.parse(line) as StoredDocument & {
        namespace: string;
        name: string;
      };
      found.set(`${bucket} ${namespace}/${name}`, { revision, document });
    }
  }
  return found;
}

/**
 * Requests a checkpoint and returns its name, or the reason why it was skipped. If the round trims the log, the node
 * does not have to be ready.
 */
export async function requestCheckpoint(cluster: SkewCluster, member: Member): Promise<string | undefined> {
  const url = `${await member.process?.url()}/api/v1/checkpoints?await=true`;
  const answer = await fetch(url, { method: "POST" });
  const result = (await answer.json()) as { name?: string; skipped?: string; error?: { code: string } };
  const code = result.error?.code;
  const { figures, expected } = cluster;
  figures.count(`checkpoints requested: ${result.name === undefined ? (result.skipped ?? code) : "saved"}`);
  const isRefused = code === "CHECKPOINT_RUNNING" || (code === "NOT_READY" && expected.has("LOG_TRIMMED"));
  if (answer.status !== 200 && !isRefused)
    cluster.violated(member, `a request for a checkpoint was answered with ${JSON.stringify(result)}`);
  return result.name ?? result.skipped;
}

/** Requests checkpoints until one contains everything that the node has. Any node may already be saving one. */
export async function saveCheckpoint(cluster: SkewCluster, member: Member): Promise<void> {
  const deadline = Date.now() + SAVE_TIMEOUT_MS;
  for (;;) {
    const answer = await requestCheckpoint(cluster, member);
    if (answer !== undefined && answer !== "leased") return;
    if (Date.now() > deadline)
      throw new Error(`${member.id} saved no checkpoint within ${SAVE_TIMEOUT_MS} ms.`);
    await delay(100);
  }
}
