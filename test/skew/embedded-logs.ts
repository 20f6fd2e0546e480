import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { NodeProcess } from "../support/cairn-process.ts";
import { AcknowledgedHistory, differences, type Operation } from "./acknowledged.ts";
import { readLogLine } from "./alarms.ts";
import { type Build, NEW } from "./builds.ts";
import type { Figures } from "./figures.ts";
import { documentsOf, submitBatch } from "./node-requests.ts";

const TRANSACTIONS = 100;
const REFUSED_WITHIN_MS = 30_000;

/**
 * Starts each version on a folder with an embedded log of the other one. It must refuse the log and leave it intact.
 */
export async function swapEmbeddedLogs(first: Build, folder: string, figures: Figures): Promise<void> {
  await swap(first, NEW, "LOG_DIFFERENT", path.join(folder, "embedded-of-first"), figures);
  await swap(NEW, first, "INDEX_VERSION", path.join(folder, "embedded-of-new"), figures);
}

async function swap(
  owner: Build,
  stranger: Build,
  code: string,
  dir: string,
  figures: Figures,
): Promise<void> {
  const history = new AcknowledgedHistory();
  const before = await startReady(owner, dir);
  await submitBatch(await before.url(), transactions(), history);
  const { digest } = await before.digest();
  await before.kill();

  const refused = NodeProcess.start({ id: "embedded", dir, program: stranger.program });
  try {
    await waitForCode(refused, code);
    figures.count(`embedded logs of the ${owner.name} version refused by the ${stranger.name} one: ${code}`);
    if ((await refused.status()).phase === "ready")
      figures.violated(`${dir}: ready on a log of another version`);
  } finally {
    await refused.kill();
  }

  const after = await startReady(owner, dir);
  try {
    const found = await documentsOf({ process: after, build: owner }, ["pods"]);
    for (const problem of differences(history.documents(), found)) figures.violated(`${dir}: ${problem}`);
    if ((await after.digest()).digest !== digest) figures.violated(`${dir}: the digest has changed`);
    const aside = (await after.status()).join.movedAside;
    if (aside.length > 0) figures.violated(`${dir}: moved aside: ${JSON.stringify(aside)}`);
  } finally {
    await after.kill();
  }
}

async function startReady({ program }: Build, dir: string): Promise<NodeProcess> {
  const node = NodeProcess.start({ id: "embedded", dir, program });
  try {
    await node.ready();
  } catch (error) {
    await node.kill();
    throw error;
  }
  return node;
}

/** Waits until a node's log has a line with this code. */
async function waitForCode(node: NodeProcess, code: string): Promise<void> {
  const deadline = Date.now() + REFUSED_WITHIN_MS;
  while (!node.lines.some((line) => readLogLine(line)?.code === code)) {
    if (node.exited || Date.now() > deadline)
      throw new Error(`No ${code} from ${node.id}:\n${node.output()}`);
    await delay(20);
  }
}

function transactions(): { id: string; ops: readonly Operation[] }[] {
  return Array.from({ length: TRANSACTIONS }, (_, n) => {
    const op: Operation = ["put", "pods", `default/k${n % 60}`, { n }];
    return { id: `embedded-${n}`, ops: [op] };
  });
}
