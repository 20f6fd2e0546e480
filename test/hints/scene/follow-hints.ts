import { it, onTestFinished } from "vitest";
import type { BrokenCluster } from "./broken-cluster.ts";
import { followFirstHint } from "./follow-first-hint.ts";

/** Defines a test for each cluster. */
export function followHints(clusters: readonly BrokenCluster[]): void {
  const cases = clusters.map((cluster) => [cluster.name, cluster.failure, cluster] as const);
  it.each(cases)(
    "%s: when %s, following the first hint word for word repairs it",
    async (_name, _failure, cluster) => {
      await followFirstHint(cluster, (scene) => onTestFinished(() => scene.close()));
    },
  );
}
