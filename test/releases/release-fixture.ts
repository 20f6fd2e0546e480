import { writeFile } from "node:fs/promises";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { openEmbeddedTxLog } from "@cairn/engine";
import { ROW } from "@cairn/engine/src/index/rows/row-keys";
import { levelProvider } from "@cairn/kv";
import { startNode } from "@cairn/node";
import { answersOf } from "./answers.ts";
import { fill } from "./release-content.ts";

/** Paths are relative, so that a copy of the folder starts anywhere. */
const CONFIG = {
  "cairn/node": { id: "node-1", dir: "data" },
  "cairn/http-server": null,
  "cairn/index-store": {
    "kv-store": {
      checkpointer: {
        store: { "cairn/module": "cairn.checkpoint/->filesystem-checkpoint-store", path: "store" },
        "approx-frequency": "PT6H",
        "log-backup": { every: "PT1S" },
      },
    },
  },
} as const;

/** The kinds of rows that an index has only while it builds or removes a field, or until it purges an eviction. */
const TRANSIENT = ["fieldBuild", "fieldRemoval", "erasure"];

/** Leaves in `folder` what a node of this build leaves that has every kind of row, and what it answers. */
export async function makeFixture(folder: string): Promise<void> {
  const place = (name: string): string => path.join(folder, name);
  await writeFile(place("cairn.json"), `${JSON.stringify(CONFIG, null, 2)}\n`);
  const node = await startNode(CONFIG, { cwd: folder });
  try {
    await node.ready;
    await fill(node);
    await node.checkpoint().done;
    // The index ends after the checkpoint.
    const ops = [["put", "things", "space-2/after", { state: "open", n: 99 }]] as const;
    const { txId } = await node.await(await node.submit({ ops }));
    while (((await node.status()).logBackup?.covered?.at(-1)?.last ?? 0) < txId) await sleep(200);
    await writeFile(place("expected.json"), `${JSON.stringify(await answersOf(node), null, 1)}\n`);
    await node.close();
    await writeFile(place("messages.ndjson"), await messagesOf(place("data/node-1-log"), txId));
    await requireEveryKind(place("data/node-1-index/live"));
  } finally {
    await node.close();
  }
}

async function messagesOf(log: string, last: number): Promise<string> {
  const opened = await openEmbeddedTxLog({ path: log });
  const lines: string[] = [];
  for await (const messages of opened.read(1, { signal: AbortSignal.timeout(60_000) })) {
    for (const { position, time, payload } of messages)
      lines.push(`${JSON.stringify({ position, time, payload: Buffer.from(payload).toString("utf8") })}\n`);
    if (lines.length >= last) break;
  }
  await opened.close();
  return lines.join("");
}

async function requireEveryKind(index: string): Promise<void> {
  const opened = await levelProvider().open(index);
  const kinds = new Set<number>();
  for await (const rows of opened.range({})) for (const [key] of rows) kinds.add(key[0] ?? 0);
  await opened.close();
  const missing = Object.entries(ROW).filter(([name, kind]) => !kinds.has(kind) && !TRANSIENT.includes(name));
  if (missing.length > 0)
    throw new Error(`The index has no rows of ${missing.map(([name]) => name).join(", ")}.`);
}
