import { spawn } from "node:child_process";
import { once } from "node:events";
import { expect, it } from "vitest";
import type { IndexBatch } from "../src/own-indexes/own-index.ts";
import { CLEAR, complete, incomplete, remove } from "./own-index-batches.ts";
import {
  changed,
  type Documents,
  expectContents,
  type OwnIndexScene,
  type OwnIndexSuiteParts,
} from "./own-index-scene.ts";

/**
 * Opens an index and applies batches, and is killed before the batch `killAt` or, by another thread, after a time. Prints
 * how many milliseconds it took if it is not killed.
 */
const KILLED = `
import { once } from "node:events";
import { json } from "node:stream/consumers";
import { Worker } from "node:worker_threads";
const { url, name, options, context, batches, killAt, killMs } = await json(process.stdin);
const create = (await import(url))[name];
const begun = new Int32Array(new SharedArrayBuffer(4));
if (killMs !== undefined) {
  const code = \`
    import("node:worker_threads").then(({ parentPort, workerData: { begun, killMs } }) => {
      parentPort.postMessage("ready");
      Atomics.wait(begun, 0, 0);
      Atomics.wait(begun, 0, 1, killMs);
      process.kill(process.pid, "SIGKILL");
    });
  \`;
  await once(new Worker(code, { eval: true, workerData: { begun, killMs } }), "message");
}
Atomics.store(begun, 0, 1);
Atomics.notify(begun, 0);
const from = performance.now();
const index = await create(options, { ...context, onNotice: () => {} });
for (const [at, batch] of batches.entries()) {
  if (at === killAt) process.kill(process.pid, "SIGKILL");
  await index.apply(batch);
}
await index.close();
console.log(performance.now() - from);
process.exit(0);
`;

const KEYS = 400;
const ROUNDS = 12;
/** A process that is not alone on its processor takes longer than the first one. */
const SLOWER = 1.3;

/** Kills processes between any two batches, and at any time, and expects what their indexes contain to fit their positions. */
export function killedIndexTests(scene: OwnIndexScene, module: OwnIndexSuiteParts["module"]): void {
  // Without a module that another process can import, there is nothing to kill.
  if (module === undefined) return;
  it("contains what its position says, whenever its process is killed", async () => {
    const batches = seriesOf(scene);
    const tookMs = await runKilled({ ...module, scene, dir: await scene.newDir(), batches, kill: {} });
    const kills = [
      ...batches.map((_, killAt) => ({ killAt })),
      ...Array.from({ length: ROUNDS }, (_, n) => ({ killMs: (n * SLOWER * tookMs) / ROUNDS })),
    ];
    const wanted = completeStates(batches);
    const [last = ""] = [...wanted.keys()].toReversed();
    for (const kill of kills) {
      const dir = await scene.newDir();
      await runKilled({ ...module, scene, dir, batches, kill });
      const index = await scene.open(dir);
      const position = await index.position();
      if (position !== undefined) {
        await expectContents(scene, { index, dir }, position, wanted.get(position) ?? new Map());
      }
      // The node goes on from the position or, without one, builds it.
      const done = batches.findLastIndex((batch) => batch.position === position && batch.complete) + 1;
      for (const batch of batches.slice(done)) await index.apply(batch);
      await expectContents(scene, { index, dir }, last, wanted.get(last) ?? new Map());
      await scene.close(index);
    }
  });
}

/** Returns a build and changes, in batches of which some belong together. */
function seriesOf(scene: OwnIndexScene): readonly IndexBatch[] {
  const keys = Array.from({ length: KEYS }, (_, n) => `default/${String(n).padStart(3, "0")}`);
  const put = (n: number) => (key: string, at: number) => scene.put(key, n + at);
  const half = keys.slice(KEYS / 2);
  return [
    incomplete("1-aaaaaaaaaaaa", CLEAR, ...keys.slice(0, KEYS / 2).map(put(0))),
    complete("1-aaaaaaaaaaaa", ...half.map(put(100))),
    incomplete("2-aaaaaaaaaaaa", ...keys.slice(0, 100).map(put(200))),
    incomplete("2-aaaaaaaaaaaa", ...half.map((key) => remove(`${scene.bucket}/${key}`))),
    complete("2-aaaaaaaaaaaa", ...keys.slice(100, 200).map(put(300))),
    complete(
      "3-aaaaaaaaaaaa",
      { op: "clear", bucket: scene.bucket, namespace: "default" },
      scene.put("other/a", 1),
    ),
    incomplete("4-aaaaaaaaaaaa", ...keys.map(put(400))),
    complete("4-aaaaaaaaaaaa", remove(`${scene.bucket}/other/a`)),
  ];
}

/** Returns the documents as of each position of a complete batch. */
function completeStates(batches: readonly IndexBatch[]): ReadonlyMap<string, Documents> {
  const states = new Map<string, Documents>();
  for (const [at, batch] of batches.entries()) {
    if (batch.complete) states.set(batch.position, changed(new Map(), batches.slice(0, at + 1)));
  }
  return states;
}

interface KilledRun {
  readonly url: string;
  readonly export: string;
  readonly scene: OwnIndexScene;
  readonly dir: string;
  readonly batches: readonly IndexBatch[];
  readonly kill: { readonly killAt?: number; readonly killMs?: number };
}

/** Returns how long the batches took, if the process was not killed. */
async function runKilled({ url, export: name, scene, dir, batches, kill }: KilledRun): Promise<number> {
  const { options } = scene;
  const order = JSON.stringify({ url, name, options, context: scene.context(dir), batches, ...kill });
  const child = spawn(process.execPath, ["--input-type=module", "-e", KILLED]);
  child.stdin.end(order);
  let complaint = "";
  let tookMs = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => (complaint += text));
  child.stdout.setEncoding("utf8").on("data", (text: string) => (tookMs += text));
  const [code, signal] = (await once(child, "close")) as [number | null, string | null];
  expect({ complaint, ended: code === 0 || signal === "SIGKILL" }).toEqual({ complaint: "", ended: true });
  return Number(tookMs);
}
