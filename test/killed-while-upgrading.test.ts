// @module-tag rest/campaign
import { existsSync } from "node:fs";
import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { Readable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import { dbDirLayout } from "@cairn/engine/src/db-dir/index-directory";
import { ofVersion2 } from "@cairn/engine/testing";
import { NodeProcess, runCairnOrThrow } from "@cairn/test-support/cairn-process";
import { expect, it, onTestFinished } from "vitest";

/** `pnpm soak` makes more. */
const KILLS = Number(process.env["CAIRN_SOAK_ROUNDS"] ?? 20);
const DOCUMENTS = 20_000;

type Digest = Awaited<ReturnType<NodeProcess["digest"]>>;

class UpgradeScene {
  readonly folder: string;
  /** What the node of the older version left. */
  readonly old: string;
  readonly digest: Digest;
  readonly #node: { running?: NodeProcess };

  private constructor(folder: string, old: string, digest: Digest, node: { running?: NodeProcess }) {
    this.folder = folder;
    this.old = old;
    this.digest = digest;
    this.#node = node;
  }

  static async open(): Promise<UpgradeScene> {
    const folder = await mkdtemp(path.join(tmpdir(), "cairn-upgrade-"));
    const running: { running?: NodeProcess } = {};
    onTestFinished(async () => {
      await running.running?.kill();
      await rm(folder, { recursive: true, force: true });
    });
    const old = path.join(folder, "old");
    const node = (running.running = NodeProcess.start({ id: "n", dir: old }));
    await node.ready();
    const input = Readable.from(lines());
    await runCairnOrThrow(["load", "-", "--await", "--url", await node.url()], { input });
    const digest = await node.digest();
    await node.stop();
    await ofVersion2(dbDirLayout(path.join(old, "n-index")).live);
    return new UpgradeScene(folder, old, digest, running);
  }

  get index(): ReturnType<typeof dbDirLayout> {
    return dbDirLayout(path.join(this.folder, "run", "n-index"));
  }

  async reset(): Promise<void> {
    await rm(path.join(this.folder, "run"), { recursive: true, force: true });
    await cp(this.old, path.join(this.folder, "run"), { recursive: true });
  }

  start(): NodeProcess {
    return (this.#node.running = NodeProcess.start({ id: "n", dir: path.join(this.folder, "run") }));
  }
}

/** Expects that the node continues from its index, and nothing else. */
async function expectWhole(scene: UpgradeScene): Promise<void> {
  const node = scene.start();
  await node.ready();
  const { join } = await node.status();
  expect(join).toMatchObject({ restoredFrom: null, replayed: 0, movedAside: [], orphans: 0 });
  expect(await node.digest()).toEqual(scene.digest);
  await node.kill();
}

function* lines(): Generator<string> {
  for (let n = 0; n < DOCUMENTS; n += 1) {
    const document = { n, text: `${n} `.repeat(60) };
    yield `${JSON.stringify({ ops: [["put", "things", `k${n % (DOCUMENTS / 2)}`, document]] })}\n`;
  }
}

/** Which folders a kill left. */
function stageOf({ live, next, quarantine }: UpgradeScene["index"]): string {
  const found = { live, next, quarantine };
  return Object.entries(found)
    .filter(([, folder]) => existsSync(folder))
    .map(([name]) => name)
    .join("+");
}

it(`a node that is killed ${KILLS} times while it upgrades its index continues from it`, async () => {
  const scene = await UpgradeScene.open();
  await scene.reset();
  let began = performance.now();
  const first = scene.start();
  await first.ready();
  const readyMs = performance.now() - began;
  await first.kill();
  await expectWhole(scene);
  const stages = new Map<string, number>();
  for (let kill = 0; kill < KILLS; kill += 1) {
    // Every third kill finds what the one before it left.
    if (kill % 3 !== 2) await scene.reset();
    began = performance.now();
    const node = scene.start();
    await delay(readyMs * (0.2 + 0.8 * Math.random()));
    await node.kill();
    const stage = stageOf(scene.index);
    stages.set(stage, (stages.get(stage) ?? 0) + 1);
    if (kill % 3 !== 1) await expectWhole(scene);
  }
  console.log(Object.fromEntries(stages));
  expect(stages.get("live+next")).toBeGreaterThan(0);
});
