import { it, onTestFinished } from "vitest";
import type { BrokenCluster } from "./broken-cluster.ts";
import { followFirstHint } from "./follow-first-hint.ts";

/** Defines a test for each cluster. */
export function followHints(clusters: readonly BrokenCluster[]): void {
  it.each(clusters)(
    "$name: when $failure, following the first hint word for word repairs it",
    async (cluster) => {
      await followFirstHint(cluster, (scene) => onTestFinished(() => scene.close()));
    },
  );
}
