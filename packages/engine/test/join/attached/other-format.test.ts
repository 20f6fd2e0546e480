import { Writable } from "node:stream";
import { levelProvider } from "@cairn/kv";
import { pino } from "pino";
import { expect, it } from "vitest";
import { observedScene, put } from "@cairn/test-support/nodes/observed-node";
import { saveCheckpoint } from "@cairn/test-support/stores/save-checkpoint";

it("a node whose kv-store is not LevelDB joins without a warning, and says that it serves no reads until then", async () => {
  const scene = await observedScene();
  const kvProvider = { ...levelProvider(), format: "own-rows/1" };
  const a = await scene.start("a", { kvProvider });
  await a.ready;
  await put(a, "one");
  const name = await saveCheckpoint(a);
  await a.close();
  const lines: { readonly level: number; readonly msg: string }[] = [];
  const write = (chunk: Buffer, _: string, done: () => void): void => {
    lines.push(JSON.parse(chunk.toString()) as (typeof lines)[number]);
    done();
  };
  const b = await scene.start("b", { kvProvider, logger: pino(new Writable({ write })) });
  await b.ready;
  expect((await b.status()).join).toMatchObject({ restoredFrom: { name } });
  expect(lines.filter(({ level }) => level > 30)).toEqual([]);
  expect(lines.map(({ msg }) => msg).join("\n")).toContain(
    "because it is in own-rows/1, and not in leveldb/1",
  );
});
