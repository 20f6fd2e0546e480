import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { commitSeed } from "@cairn/kv/testing";
import { NodeProcess } from "@cairn/test-support/cairn-process";
import { savingConfig } from "@cairn/test-support/stores/saving-config";
import { seededPicks } from "@cairn/test-support/seeded-random";
import { afterEach, beforeAll, afterAll, describe, expect, it } from "vitest";

const PRELOAD = fileURLToPath(new URL("../../dist/test/own-indexes/killed-node.js", import.meta.url));
/** The seed of the kills that are made with every commit. */
const SEED = commitSeed();

let folder = "";
let scenes = 0;
let running: NodeProcess | undefined;

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "cairn-own-killed-"));
  const scene = await makeScene();
  const node = await started(scene);
  for (let n = 0; n < 20; n += 1) await put(node, `k${n}`);
  await live(node);
  await save(node);
  for (let n = 10; n < 30; n += 1) await put(node, `k${n}`);
  await live(node);
  await node.stop();
});
afterEach(async () => await running?.kill());
afterAll(async () => await rm(folder, { recursive: true, force: true }));

/** Returns the folder of a new node, or of one that has what the first scene has. */
async function makeScene(): Promise<string> {
  const scene = path.join(folder, String(scenes));
  await mkdir(scene);
  if (scenes > 0) await cp(path.join(folder, "0"), scene, { recursive: true });
  scenes += 1;
  const module = `${path.join(import.meta.dirname, "json-index.mjs")}#create`;
  const config = {
    ...savingConfig(scene, "n", {}),
    "cairn/indexes": { json: { "cairn/module": module, "checkpoint?": true } },
  };
  await writeFile(path.join(scene, "config.json"), JSON.stringify(config));
  return scene;
}

function start(scene: string, killAt?: string): NodeProcess {
  const env = killAt === undefined ? {} : { CAIRN_KILL_AT: killAt, NODE_OPTIONS: `--import=${PRELOAD}` };
  running = NodeProcess.start({ id: "n", dir: scene, args: ["-f", path.join(scene, "config.json")], env });
  return running;
}

async function started(scene: string): Promise<NodeProcess> {
  const node = start(scene);
  await node.ready();
  return node;
}

async function put(node: NodeProcess, name: string): Promise<void> {
  const address = `${await node.url()}/api/v1/plain/default/${name}`;
  const { ok } = await fetch(address, { method: "PUT", body: JSON.stringify(`${name} ${Math.random()}`) });
  expect(ok).toBe(true);
}

async function evict(node: NodeProcess, name: string): Promise<void> {
  const body = JSON.stringify({ ops: [["evict", "plain", name]] });
  const headers = { "content-type": "application/json" };
  expect(
    (await fetch(`${await node.url()}/api/v1/tx?await=true`, { method: "POST", body, headers })).ok,
  ).toBe(true);
}

/** Waits until the index has everything that the node has. Throws if the node is killed meanwhile. */
async function live(node: NodeProcess): Promise<void> {
  for (;;) {
    const { phase, index, ownIndexes } = await node.status();
    const [only] = ownIndexes;
    if (phase === "ready" && only?.state === "live" && only.txId === index.txId) return;
    if (only?.failure != null) throw new Error(only.failure.message);
    await delay(5);
  }
}

/** Saves a checkpoint. The node's own first one may be running. */
async function save(node: NodeProcess): Promise<void> {
  for (;;) {
    const { status, ok } = await fetch(`${await node.url()}/api/v1/checkpoints?await=true`, {
      method: "POST",
    });
    if (ok) return;
    expect(status).toBe(409);
    await delay(5);
  }
}

const own = (scene: string): string => path.join(scene, "n-index", "own", "json");

/** Expects that the index is live, is what the node lists, and that nothing but its files is left. */
async function expectExact(scene: string, node: NodeProcess): Promise<void> {
  await live(node);
  const served = JSON.parse(await readFile(path.join(own(scene), "served.json"), "utf8")) as {
    folder: string;
  };
  const text = await readFile(path.join(own(scene), served.folder, "index.json"), "utf8");
  const { documents } = JSON.parse(text) as { documents: Record<string, string> };
  const listed = (await (await fetch(`${await node.url()}/api/v1/plain?limit=1000`)).json()) as readonly {
    namespace: string;
    name: string;
    revision: number;
    document: unknown;
  }[];
  const expected = listed.map(({ namespace, name, revision, document }) => [
    `plain ${namespace}/${name}`,
    `${revision} ${JSON.stringify(document)}`,
  ]);
  expect(documents).toEqual(Object.fromEntries(expected));
  expect((await readdir(own(scene))).toSorted()).toEqual([served.folder, "served.json"].toSorted());
  const liveFiles = await readdir(path.join(scene, "n-index", "live"));
  expect(liveFiles.filter((name) => name.startsWith("own-"))).toEqual([]);
}

/** What a node does with its index until it is killed. */
async function work(node: NodeProcess): Promise<void> {
  await node.ready();
  await live(node);
  await put(node, "k1");
  await evict(node, "k2");
  await live(node);
  await save(node);
  await put(node, "k3");
  await live(node);
}

/** Where the index comes from, and what is removed before that. */
const SOURCES = { "is built": ["n-index/own"], "is restored": ["n-index"] };

/** Returns whether the node was killed before everything was done. */
async function killedAt(source: keyof typeof SOURCES, killAt: string): Promise<boolean> {
  const scene = await makeScene();
  for (const removed of SOURCES[source]) await rm(path.join(scene, removed), { recursive: true });
  const first = start(scene, killAt);
  const isKilled = await work(first).then(
    () => false,
    () => first.ended().then(() => true),
  );
  await first.kill();
  const second = await started(scene);
  await expectExact(scene, second);
  await put(second, "k4");
  await expectExact(scene, second);
  await second.kill();
  // What the checkpoints contain is as exact.
  await rm(path.join(scene, "n-index"), { recursive: true });
  const third = await started(scene);
  await expectExact(scene, third);
  await third.kill();
  return isKilled;
}

describe.each(Object.keys(SOURCES) as (keyof typeof SOURCES)[])("an own index that %s", (source) => {
  it(
    `is exact after the node was killed before a change to its files (seed ${SEED})`,
    { tags: "rest/slow" },
    async () => {
      const picks = seededPicks(SEED);
      const thread = picks.of(["node", "node", "index"]);
      await killedAt(source, `${thread} ${1 + picks.below(thread === "node" ? 20 : 12)}`);
    },
  );

  it.each(["node", "index"])(
    "is exact, whichever change of the thread %s is the last",
    { tags: "rest/campaign", timeout: 1_200_000 },
    async (thread) => {
      let change = 1;
      while (await killedAt(source, `${thread} ${change}`)) change += 1;
      expect(change).toBeGreaterThan(5);
    },
  );
});
