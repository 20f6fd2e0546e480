import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { Readable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import { historyLines, makeRepository } from "@cairn/example-git-history";
import { type NatsTestServer, startNatsServer } from "@cairn/node/testing";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createCheckpoint, runCairnOrThrow, NodeProcess, fixtureConfig } from "./support/cairn-process.ts";
import { withLineBreaks } from "./support/files-oracle.ts";

const KILLS = 20;

describe("a node that is killed while it joins", () => {
  let folder = "";
  let nats: NatsTestServer;
  let a: NodeProcess;
  let b: NodeProcess | undefined;
  const environment = () => ({ NATS_URL: nats.url, CAIRN_CHECKPOINT_PATH: path.join(folder, "checkpoints") });

  const startB = () =>
    NodeProcess.start({ id: "b", dir: folder, args: ["-f", fixtureConfig("crux.json")], env: environment() });

  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), "cairn-killed-"));
    nats = await startNatsServer();
    const directory = path.join(folder, "repo.git");
    await makeRepository({ directory, commits: 1_500, seed: 11 });
    a = NodeProcess.start({
      id: "a",
      dir: folder,
      args: ["-f", fixtureConfig("crux.edn")],
      env: environment(),
    });
    await a.ready();
    const url = await a.url();
    const input = withLineBreaks(historyLines({ directory, name: "repo" }));
    await runCairnOrThrow(["load", "-", "--await", "--url", url], { input });
    await createCheckpoint(url);
    // The tail that nodes replay after they restored the checkpoint.
    const tail = Array.from(
      { length: 20 },
      (_, n) => `${JSON.stringify({ ops: [["put", "notes", `n${n}`, n]] })}\n`,
    );
    await runCairnOrThrow(["load", "-", "--await", "--url", url], { input: Readable.from(tail) });
  });
  afterAll(async () => {
    await b?.kill();
    await a.kill();
    await nats.close();
    await rm(folder, { recursive: true, force: true });
  });

  it(`is ready at the next start, with the same digest, after ${KILLS} kills at random instants`, async () => {
    const begun = performance.now();
    b = startB();
    await b.url();
    const startMs = performance.now() - begun;
    await b.ready();
    const joinMs = performance.now() - begun - startMs;
    await b.kill();
    const phases = new Set<string>();
    for (let kill = 0; kill < KILLS; kill += 1) {
      // Half of the starts restore into an empty folder. The other half find the files that the previous kill left
      // behind.
      if (kill % 2 === 0) await rm(path.join(folder, "b-index"), { recursive: true, force: true });
      b = startB();
      // Half of the delays begin once the node listens. Otherwise, all kills would come too early on a machine that has
      // become busier.
      const listens = kill % 4 >= 2;
      if (listens) await b.url();
      await delay(kill === 0 ? 0 : Math.random() * 1.1 * (listens ? joinMs : startMs));
      phases.add(await phaseOf(b));
      await b.kill();
    }
    b = startB();
    await b.ready();
    expect(await b.digest()).toEqual(await a.digest());
    // The kills hit both the start and the join.
    expect(phases).toContain("starting");
    expect(phases.size).toBeGreaterThan(1);
  });
});

async function phaseOf(node: NodeProcess): Promise<string> {
  const url = await Promise.race([node.url(), delay(1, undefined)]);
  if (url === undefined) return "starting";
  return (await node.status()).phase;
}
