import { rm } from "node:fs/promises";
import { workloads } from "../data/workloads.ts";
import { type Contestant, ratioTarget, type Row, type Target } from "../harness/row.ts";

/**
 * The construction of an index from logs of several kinds, compared with classic-level, which makes the same reads and
 * writes the same rows while the same log is drained.
 */
export const workloadsRow: Row = {
  name: "workloads",
  title: "an index from logs of several kinds, against classic-level with the same reads and rows",
  async prepare(workspace) {
    const contestants: Contestant[] = [];
    const targets: Target[] = [];
    for (const { name, ...content } of workloads(workspace.records.count)) {
      const { count } = content;
      const stream = `workload-${name.replaceAll(" ", "-")}`;
      const log = await workspace.fillLog(`the log of ${name}`, { stream, ...content });
      const trace = workspace.fresh("trace");
      const traced = workspace.fresh("traced");
      const { requests = 0 } = await workspace.run("trace workload", { dir: traced, log, count, trace });
      await rm(traced, { recursive: true });
      const run = (step: "replay workload" | "write trace") => async () => {
        const dir = workspace.fresh("workload");
        const figures = await workspace.run(step, { dir, log, count, trace, requests });
        await rm(dir, { recursive: true });
        return figures;
      };
      const [level, cairn] = [`${name}: classic-level`, `${name}: cairn`];
      contestants.push(
        { name: level, run: run("write trace") },
        { name: cairn, run: run("replay workload") },
      );
      targets.push(ratioTarget("tx/s", cairn, level, { atLeast: 0.85 }), {
        of: { contestant: cairn, metric: "anonymous MB" },
        atMost: 300,
      });
    }
    const bounded = { contestant: "keep 1: cairn", metric: "tx/s" };
    targets.push({ of: bounded, to: { contestant: "updates: cairn", metric: "tx/s" }, atLeast: 0.8 });
    return { contestants, targets };
  },
};
