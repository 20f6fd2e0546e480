import { it, onTestFinished } from "vitest";
import type { BrokenCluster } from "./broken-cluster.ts";
import { followFirstHint } from "./follow-first-hint.ts";

/** Defines a test for each cluster. The one named `first` is in the first tier. */
export function followHints(clusters: readonly BrokenCluster[], first: string): void {
  for (const cluster of clusters) {
    const slow = cluster.name === first ? [] : ["rest/slow"];
    const tags = cluster.needsRoot === true ? [...slow, "rest/root"] : slow;
    it(
      `${cluster.name}: when ${cluster.failure}, following the first hint word for word repairs it`,
      { tags },
      async () => {
        await followFirstHint(cluster, (scene) => onTestFinished(() => scene.close()));
      },
    );
  }
}
