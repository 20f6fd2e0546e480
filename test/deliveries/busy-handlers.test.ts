import { describe, expect, it } from "vitest";
import type { Task } from "./task-director.ts";
import { tasks, taskScenes } from "./task-scene.ts";

const scenes = taskScenes();

function onceEach(entries: Readonly<Record<string, Task>>): Map<string, number> {
  return new Map(Object.keys(entries).map((name) => [name, 1]));
}

describe("handlers that keep their thread busy", () => {
  it.each<[what: string, directors: number, lease: string, task: Omit<Task, "state">]>([
    ["at once, with two directors", 2, "PT4S", { busyMs: 700 }],
    ["after they have waited, with two directors", 2, "PT4S", { waitMs: 20, busyMs: 700 }],
  ])("handle each entry once, %s", { tags: "rest/slow" }, async (_what, directors, lease, task) => {
    const entries = tasks(12, task);
    const scene = await scenes.open({ lease }, entries);
    for (let n = 0; n < directors; n += 1) scene.start(8);
    await scene.finished();
    const { counts, reports } = scene.handlings;
    // On a busy machine, the thread may come too late to something even so, but no end is dropped.
    const others = reports.filter((one) => !one.startsWith("THREAD_BUSY"));
    expect([new Map([...counts].toSorted()), others]).toEqual([onceEach(entries), []]);
    expect(await scene.stop()).toEqual(scene.directors.map(() => 0));
  });

  it(
    "handle each entry once even if a handler takes longer than the lease, and say so",
    { tags: "rest/slow" },
    async () => {
      const entries = tasks(3, { busyMs: 2_500 });
      const scene = await scenes.open({ lease: "PT2S" }, entries);
      scene.start(8);
      await scene.finished();
      const { counts, reports } = scene.handlings;
      expect(counts).toEqual(onceEach(entries));
      expect(reports).toEqual([expect.stringMatching(/^THREAD_BUSY - .* was busy or stopped for 2\.5 s/)]);
      expect(await scene.stop()).toEqual([0]);
    },
  );
});
