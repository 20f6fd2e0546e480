import { expect, it, onTestFinished } from "vitest";
import { BROKEN_CLUSTERS } from "./broken-clusters.ts";
import { followFirstHint } from "./follow-first-hint.ts";

it.each(BROKEN_CLUSTERS)("$failure: its first hint, followed word by word, mends it", async (broken) => {
  const { scene, followed } = await followFirstHint(broken, (opened) => onTestFinished(() => opened.close()));
  expect(followed.commands).toBeLessThanOrEqual(2);
  expect(scene.nodes.size).toBeGreaterThan(0);
});
