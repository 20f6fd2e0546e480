import { resolvable } from "@cairn/kv";
import { expect, test, vi } from "vitest";
import { serve } from "@cairn/test-support/nodes/served-node";

/** Operations as short as possible: 1 MB of them takes long to parse, and its values occupy many times its length. */
function manyPuts(): unknown {
  return { ops: Array.from({ length: 44_000 }, (_, index) => ["put", "w", index.toString(36), 1]) };
}

test("many large bodies are parsed in turns, few at a time, while other requests are served", async () => {
  await using served = await serve();
  const { promise: released, resolve: release } = resolvable();
  let [turn, isCounting] = [0, true];
  const count = (): void => {
    turn += 1;
    if (isCounting) setImmediate(count);
  };
  count();
  const turns: number[] = [];
  served.node.beforeSubmit = async () => {
    turns.push(turn);
    await released;
  };
  const body = manyPuts();
  const answers = Array.from({ length: 6 }, async () => await served.post("/api/v1/tx", body));
  await vi.waitFor(() => expect(turns).toHaveLength(4), { timeout: 60_000 });
  expect(new Set(turns).size).toBe(4);
  // Each of these takes several turns, of which each would be enough for one more body.
  for (let read = 0; read < 20; read += 1) expect((await served.fetch("/health/live")).status).toBe(200);
  expect(turns).toHaveLength(4);
  // The memory of reads is another one, because writes may have to wait for the log.
  expect((await served.fetch("/api/v1/buckets?timeout=PT5S")).status).toBe(200);
  release();
  expect((await Promise.all(answers)).map(({ status }) => status)).toEqual(Array(6).fill(202));
  expect(turns).toHaveLength(6);
  isCounting = false;
});
