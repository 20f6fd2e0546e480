import { expect, it } from "vitest";
import { AS_TEXT, singleReads } from "../../src/level/level-kv-store.ts";

it("one in eight single reads caches its block, and all have the given options", () => {
  const next = singleReads(AS_TEXT);
  const options = Array.from({ length: 80 }, () => next());
  expect(options.filter(({ fillCache }) => fillCache)).toHaveLength(10);
  for (const one of options) expect(one).toMatchObject(AS_TEXT);
});
