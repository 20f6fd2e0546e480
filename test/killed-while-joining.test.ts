// @module-tag nats
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { Readable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import { historyLines, makeRepository } from "@cairn/example-git-history";
import { type NatsTestServer, startNatsServer } from "@cairn/log-nats/testing";
import { describe, expect, it, onTestFinished } from "vitest";
import {
  createCheckpoint,
  runCairnOrThrow,
  NodeProcess,
  fixtureConfig,
} from "@cairn/test-support/cairn-process";
import { withLineBreaks } from "@cairn/test-support/files-oracle";

const KILLS = 20;

/** Node A, with a checkpoint and a tail after it, and node B, which joins. */
class JoinScene {
  readonly folder: string;
  readonly nats: NatsTestServer;
  readonly a: NodeProcess;
  #b: NodeProcess | undefined;

  private constructor(folder: string, nats: NatsTestServer) {
    this.folder = folder;
    this.nats = nats;
    this.a = this.#start("a", "crux.edn");
  }

  /** Loads the history of a repository into node A. */
  static async open(commits: number): Promise<JoinScene> {
    const folder = await mkdtemp(path.join(tmpdir(), "cairn-killed-"));
    const scene = new JoinScene(folder, await startNatsServer());
    onTestFinished(() => scene.#close());
    const directory = path.join(folder, "repo.git");
    await makeRepository({ directory, commits, seed: 11 });
    await scene.a.ready();
    const url = await scene.a.url();
    const input = withLineBreaks(historyLines({ directory, name: "repo" }));
    await runCairnOrThrow(["load", "-", "--await", "--url", url], { input });
    await createCheckpoint(url);
    // The tail that nodes replay after they restored the checkpoint.
    const tail = Array.from(
      { length: 20 },
      (_, n) => `${JSON.stringify({ ops: [["put", "notes", `n${n}`, n]] })}\n`,
    );
    await runCairnOrThrow(["load", "-", "--await", "--url", url], { input: Readable.from(tail) });
    return scene;
  }

  startB(): NodeProcess {
    this.#b = this.#start("b", "crux.json");
    return this.#b;
  }

  async loseIndexOfB(): Promise<void> {
    await rm(path.join(this.folder, "b-index"), { recursive: true, force: true });
  }

  #start(id: string, config: Parameters<typeof fixtureConfig>[0]): NodeProcess {
    const env = { NATS_URL: this.nats.url, CAIRN_CHECKPOINT_PATH: path.join(this.folder, "checkpoints") };
    return NodeProcess.start({ id, dir: this.folder, args: ["-f", fixtureConfig(config)], env });
  }

  async #close(): Promise<void> {
    await this.#b?.kill();
    await this.a.kill();
    await this.nats.close();
    await rm(this.folder, { recursive: true, force: true });
  }
}

/** Expects that node B, once started, is ready with the digest of node A. */
async function expectJoined(scene: JoinScene): Promise<void> {
  const b = scene.startB();
  await b.ready();
  expect(await b.digest()).toEqual(await scene.a.digest());
}

describe("a node that is killed while it joins", () => {
  it("is ready at the next start, with the same digest", async () => {
    const scene = await JoinScene.open(100);
    const b = scene.startB();
    await b.url();
    await b.kill();
    await expectJoined(scene);
  });

  it(
    `is ready at the next start, with the same digest, after ${KILLS} kills at random instants`,
    { tags: "rest/campaign" },
    async () => {
      const scene = await JoinScene.open(1_500);
      const begun = performance.now();
      let b = scene.startB();
      await b.url();
      const startMs = performance.now() - begun;
      await b.ready();
      const joinMs = performance.now() - begun - startMs;
      await b.kill();
      const phases = new Set<string>();
      for (let kill = 0; kill < KILLS; kill += 1) {
        // Half of the starts restore into an empty folder. The other half find the files that the previous kill left
        // behind.
        if (kill % 2 === 0) await scene.loseIndexOfB();
        b = scene.startB();
        // Half of the delays begin once the node listens. Otherwise, all kills would come too early on a machine that
        // has become busier.
        const listens = kill % 4 >= 2;
        if (listens) await b.url();
        await delay(kill === 0 ? 0 : Math.random() * 1.1 * (listens ? joinMs : startMs));
        phases.add(await phaseOf(b));
        await b.kill();
      }
      await expectJoined(scene);
      // The kills hit both the start and the join.
      expect(phases).toContain("starting");
      expect(phases.size).toBeGreaterThan(1);
    },
  );
});

async function phaseOf(node: NodeProcess): Promise<string> {
  const url = await Promise.race([node.url(), delay(1, undefined)]);
  if (url === undefined) return "starting";
  return (await node.status()).phase;
}
