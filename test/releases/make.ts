// Makes the fixture of a release from this build: node test/dist/releases/make.js. It never changes afterwards.
import { existsSync } from "node:fs";
import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { openEmbeddedTxLog } from "@cairn/engine";
import { ROW } from "@cairn/engine/src/index/rows/row-keys";
import { levelProvider } from "@cairn/kv";
import { startNode } from "@cairn/node";
import { ROOT } from "@cairn/test-support/cairn-process";
import { answersOf } from "./answers.ts";
import { fill } from "./release-content.ts";

/** Paths are relative, so that a copy of the folder starts anywhere. */
const CONFIG = {
  "cairn/node": { id: "node-1", dir: "data" },
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

/** The kinds of rows that an index has only while it builds or removes a field. */
const TRANSIENT = ["fieldBuild", "fieldRemoval"];

const { version } = JSON.parse(await readFile(path.join(ROOT, "package.json"), "utf8")) as {
  version: string;
};
const folder = path.join(ROOT, "test/fixtures/releases", version);
if (existsSync(folder)) throw new Error(`${folder} exists, and the fixture of a release never changes.`);
// The index records the place of its store, which must not be that of this checkout.
process.chdir(await mkdtemp(path.join(tmpdir(), "cairn-")));
await writeFile("cairn.json", `${JSON.stringify(CONFIG, null, 2)}\n`);

const node = await startNode(CONFIG);
await node.ready;
await fill(node);
await node.checkpoint().done;
// The index ends after the checkpoint.
await node.await(await node.submit({ ops: [["put", "things", "space-2/after", { state: "open", n: 99 }]] }));
const { txId } = await node.digest();
while (((await node.status()).logBackup?.covered?.at(-1)?.last ?? 0) < txId) await sleep(200);
await writeFile("expected.json", `${JSON.stringify(await answersOf(node), null, 1)}\n`);
await node.close();

const log = await openEmbeddedTxLog({ path: "data/node-1-log" });
const lines: string[] = [];
for await (const messages of log.read(1, { signal: AbortSignal.timeout(60_000) })) {
  for (const { position, time, payload } of messages)
    lines.push(`${JSON.stringify({ position, time, payload: Buffer.from(payload).toString("utf8") })}\n`);
  if (lines.length >= txId) break;
}
await log.close();
await writeFile("messages.ndjson", lines.join(""));

const index = await levelProvider().open("data/node-1-index/live");
const kinds = new Set<number>();
for await (const rows of index.range({})) for (const [key] of rows) kinds.add(key[0] ?? 0);
await index.close();
const missing = Object.entries(ROW).filter(([name, kind]) => !kinds.has(kind) && !TRANSIENT.includes(name));
if (missing.length > 0)
  throw new Error(`The index has no rows of ${missing.map(([name]) => name).join(", ")}.`);

await cp(".", folder, { recursive: true });
await rm(process.cwd(), { recursive: true });
