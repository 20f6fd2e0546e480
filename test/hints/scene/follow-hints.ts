import { it, onTestFinished } from "vitest";
import type { BrokenCluster } from "./broken-cluster.ts";
import { followFirstHint } from "./follow-first-hint.ts";

/** A test for each. What it started is ended also where it fails. */
export function followHints(clusters: readonly BrokenCluster[]): void {
  it.each(clusters)("$name: $failure; its first hint, followed word by word, mends it", async (cluster) => {
    await followFirstHint(cluster, (scene) => onTestFinished(() => scene.close()));
  });
}
