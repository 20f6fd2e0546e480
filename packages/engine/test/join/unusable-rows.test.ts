// @module-tag nats
import path from "node:path";
import { levelProvider } from "@cairn/kv";
import { expect, it } from "vitest";
import { put, trimScene } from "@cairn/test-support/nodes/trim-scene";

it("a node whose index lacks the base of its chains moves the index aside and rebuilds it without a restart", async () => {
  const scene = await trimScene("embedded");
  const node = await scene.start("first");
  await node.ready;
  await put(node, 0, 10);
  const { digest } = await node.digest();
  await node.close();
  const kv = await levelProvider().open(path.join(scene.folder, "first-index", "live"));
  const entries: Uint8Array[] = [];
  for await (const rows of kv.range({ gte: Buffer.from("r"), lt: Buffer.from("s") }))
    for (const [key] of rows) entries.push(key);
  await kv.batch(entries.map((key) => ({ type: "del", key })));
  await kv.close();
  expect(entries.length).toBeGreaterThan(0);

  const again = await scene.start("first");
  await again.ready;
  expect((await again.status()).join.movedAside).toMatchObject([{ code: "INDEX_CORRUPT" }]);
  expect((await again.digest()).digest).toBe(digest);
});
