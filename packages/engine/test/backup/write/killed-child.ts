// This process looks at a backup until it kills itself: node killed-child.js FOLDER STEP ("before 3", "after 3",
// "within 3", "never")
import path from "node:path";
import { Readable } from "node:stream";
import { type CheckpointStore, filesystemStore } from "@cairn/checkpoint";
import { systemClock } from "@cairn/kv";
import { lookAtBackup } from "../../../src/backup/write/backup-look.ts";
import { openEmbeddedTxLog } from "../../../src/log/embedded/embedded-tx-log.ts";
import { noMemory } from "@cairn/test-support/nodes/backup-scene";

const [, , folder = "", step = ""] = process.argv;
const [when, at] = step.split(" ");
let writes = 0;

/** Executes a request that changes the store. Kills the process before, within or after the selected request. */
async function changing<T>(work: (isWithin: boolean) => Promise<T>): Promise<T> {
  writes += 1;
  const isIt = writes === Number(at);
  if (isIt && when === "before") process.kill(process.pid, "SIGKILL");
  const result = await work(isIt && when === "within");
  if (isIt && when === "after") process.kill(process.pid, "SIGKILL");
  return result;
}

/** Yields half of the content, and ends the process once that has been written. */
async function* half(content: Readable): AsyncGenerator<Buffer> {
  for await (const chunk of content as AsyncIterable<Buffer>) {
    yield chunk.subarray(0, chunk.length / 2);
    yield chunk.subarray(chunk.length / 2, chunk.length / 2 + 1);
    process.kill(process.pid, "SIGKILL");
  }
}

const direct = filesystemStore({ path: path.join(folder, "store") });
const store: CheckpointStore = {
  location: direct.location,
  exclusive: direct.exclusive,
  list: (prefix) => direct.list(prefix),
  open: (name, options) => direct.open(name, options),
  read: (name) => direct.read(name),
  now: () => direct.now(),
  close: () => direct.close(),
  upload: (name, content, options) =>
    changing((isWithin) => direct.upload(name, isWithin ? Readable.from(half(content)) : content, options)),
  create: (name, text) => changing(() => direct.create(name, text)),
  replace: (name, text, tag) => changing(() => direct.replace(name, text, tag)),
  remove: (name) => changing(() => direct.remove(name)),
};
const log = await openEmbeddedTxLog({ path: path.join(folder, "log") });
const { covered, removed, merged } = await lookAtBackup({
  store,
  log,
  of: { id: (await log.id()) ?? "", name: log.name, offset: 0 },
  node: "killed",
  codec: "none",
  every: 60_000,
  forced: true,
  memory: noMemory(),
  clock: systemClock,
  signal: new AbortController().signal,
});
await log.close();
process.stdout.write(JSON.stringify({ covered, removed, merged, writes }));
