import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { CairnClient } from "@cairn/client";
import { NodeProcess } from "@cairn/test-support/cairn-process";
import { parseSamples, valueOf } from "@cairn/test-support/nodes/samples";
import { expect, it, onTestFinished } from "vitest";

/** Linux counts processor time in hundredths of a second. */
const TICKS_PER_SECOND = 100;

/** Returns the processor time of a process, as the system counts it. */
async function processorSeconds(pid: number): Promise<{ user: number; system: number }> {
  const text = await readFile(`/proc/${pid}/stat`, "utf8");
  // The name of the program, in parentheses, may contain spaces.
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  const [user = 0, system = 0] = [fields[11], fields[12]].map((ticks) => Number(ticks) / TICKS_PER_SECOND);
  return { user, system };
}

it.runIf(process.platform === "linux")(
  "the first scrape of a node that was under load counts processor time, lag and collections from its start",
  async () => {
    const dir = await mkdtemp(path.join(tmpdir(), "cairn-process-metrics-"));
    onTestFinished(() => rm(dir, { recursive: true }));
    const node = NodeProcess.start({ id: "n", dir });
    onTestFinished(() => node.kill());
    await node.ready();
    const url = await node.url();
    const documents = Array.from({ length: 5_000 }, (_, n) => ({
      key: `d${n}`,
      document: "x".repeat(1_000),
    }));
    await new CairnClient({ urls: url }).load("pods", documents);

    const before = await processorSeconds(node.pid);
    const text = await (await fetch(`${url}/metrics`)).text();
    const after = await processorSeconds(node.pid);
    const counted = {
      user: valueOf(text, "process_cpu_user_seconds_total") ?? 0,
      system: valueOf(text, "process_cpu_system_seconds_total") ?? 0,
    };
    for (const of of ["user", "system"] as const) {
      // The system rounds each of its values, and divides the sum of both between them.
      expect(counted[of]).toBeGreaterThan(before[of] - 0.1);
      expect(counted[of]).toBeLessThan(after[of] + 0.1);
    }
    expect(before.user).toBeGreaterThan(0.2);
    expect(valueOf(text, "process_cpu_seconds_total")).toBeCloseTo(counted.user + counted.system, 6);
    const lags = parseSamples(text).filter(({ name }) => /^nodejs_eventloop_lag_\w+_seconds$/.test(name));
    expect(lags.map(({ name }) => name)).toHaveLength(7);
    for (const { value } of lags) expect(value).toBeLessThan(60);
    expect(valueOf(text, "nodejs_eventloop_lag_mean_seconds")).toBeGreaterThan(0);
    const collections = parseSamples(text).filter(({ name }) => name === "nodejs_gc_duration_seconds_count");
    expect(collections.reduce((sum, { value }) => sum + value, 0)).toBeGreaterThan(0);
  },
);
