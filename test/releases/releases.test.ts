import { cpSync, existsSync, readdirSync, readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { type CairnNode, filesystemStore, openCheckpoint, startNode } from "@cairn/node";
import { NatsOperator, startNatsServer } from "@cairn/log-nats/testing";
import { ROOT } from "@cairn/test-support/cairn-process";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { type Answers, answersOf } from "./answers.ts";
import { makeFixture } from "./release-fixture.ts";

const RELEASES = path.join(ROOT, "test/fixtures/releases");
/** None before the first release. */
const RELEASED = existsSync(RELEASES) ? readdirSync(RELEASES) : [];
const THIS_BUILD = "this build";

/** What this build leaves. */
let own = "";
beforeAll(async () => {
  own = await mkdtemp(path.join(tmpdir(), "cairn-release-"));
  await makeFixture(own);
});
afterAll(async () => await rm(own, { recursive: true }));

function folderOf(release: string): string {
  return release === THIS_BUILD ? own : path.join(RELEASES, release);
}

/** Starts a node on a copy of what a release left. */
async function startOn(release: string, removed: readonly string[]): Promise<CairnNode> {
  const folder = await mkdtemp(path.join(tmpdir(), "cairn-release-"));
  onTestFinished(() => rm(folder, { recursive: true }));
  cpSync(folderOf(release), folder, { recursive: true });
  for (const name of removed) await rm(path.join(folder, name), { recursive: true });
  const config = JSON.parse(readFileSync(path.join(folder, "cairn.json"), "utf8")) as object;
  const node = await startNode(config, { cwd: folder });
  onTestFinished(() => node.close());
  await node.ready;
  return node;
}

function expectedOf(release: string): Answers {
  return JSON.parse(readFileSync(path.join(folderOf(release), "expected.json"), "utf8")) as Answers;
}

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const item of items) list.push(item);
  return list;
}

it("each release in the changelog has a fixture", () => {
  const headings = readFileSync(path.join(ROOT, "CHANGELOG.md"), "utf8").matchAll(
    /^## (\d+\.\d+\.\d+) \(\d/gm,
  );
  expect(RELEASED).toEqual(expect.arrayContaining([...headings].map(([, version]) => version)));
});

describe.each([...RELEASED, THIS_BUILD])("what %s left", (release) => {
  it.each([
    ["its index", [], 0],
    ["its checkpoint, and the log after it", ["data/node-1-index"], 1],
    ["its log, from the first message", ["data/node-1-index", "store"], undefined],
  ])("gives the same answers from %s", async (_, removed, replayed) => {
    const node = await startOn(release, removed);
    const expected = expectedOf(release);
    expect((await node.status()).join.replayed).toBe(replayed ?? expected.txId);
    expect(await answersOf(node)).toEqual(expected);
    // Its id is known, so it is not applied again.
    const { txId } = await node.submit({ ops: [["put", "once", "a", 1]], id: "an id" });
    expect(txId).toBeLessThan(expected.txId);
  });

  it("gives the same answers from its checkpoint where it is", async () => {
    const node = (await startOn(release, [])).client();
    const store = filesystemStore({ path: path.join(folderOf(release), "store") });
    const { client, txId: asOf, close } = await openCheckpoint({ store });
    const { buckets } = await node.buckets();
    let documents = 0;
    for (const { name } of buckets) {
      const found = await all(client.list(name));
      expect(found).toEqual(await all(node.list(name, { asOf })));
      for (const { namespace, name: key } of found.slice(0, 50)) {
        const versions = await all(node.history(name, `${namespace}/${key}`));
        expect(await all(client.history(name, `${namespace}/${key}`))).toEqual(
          versions.filter(({ revision }) => revision <= asOf),
        );
      }
      documents += found.length;
    }
    expect(documents).toBeGreaterThan(50);
    await close();
  });

  it("means the same in a log on NATS", { tags: ["nats"] }, async () => {
    const nats = await startNatsServer();
    onTestFinished(() => nats.stop());
    const lines = readFileSync(path.join(folderOf(release), "messages.ndjson"), "utf8")
      .trimEnd()
      .split("\n");
    const payloads = lines.map((line) => (JSON.parse(line) as { payload: string }).payload);
    await NatsOperator.at(nats.url, async (operator) => await operator.makeForeignStream(payloads));
    const log = { "cairn/module": "cairn.nats/->tx-log", servers: [nats.url] };
    const node = await startNode({
      "cairn/tx-log": log,
      "cairn/index-store": { "kv-store": "cairn.memory/->kv-store" },
      "cairn/http-server": null,
    });
    onTestFinished(() => node.close());
    await node.ready;
    const { txId, documents } = expectedOf(release);
    expect((await node.digest()).txId).toBe(txId);
    // The times are others, which only leases and expiry depend on.
    for (const bucket of ["things", "bounded", "secrets", "once"])
      expect((await node.list({ bucket, limit: 1_000 })).documents).toEqual(documents[bucket]);
  });
});
