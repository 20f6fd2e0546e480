import { expect, it, onTestFinished } from "vitest";
import type { Task } from "./task-director.ts";
import { tasks, taskScenes } from "./task-scene.ts";

const scenes = taskScenes();
/** How often an entry is handed out in addition to `limit`: before it is suspected, and then among others. */
const MORE = 2;

it.each([1, 3])(
  "an entry whose handler kills its process is given up after %i attempts, and the others are finished",
  { tags: "rest/slow" },
  async (limit) => {
    const all = { ...tasks(20, { waitMs: 200 }), e10: { state: "new", kills: true } };
    const retry = { first: 100, max: 1_000, limit, dead: { state: "dead" } };
    const scene = await scenes.open({ lease: "PT1S", retry }, all);
    const stopped = new AbortController();
    onTestFinished(() => stopped.abort());
    const supervise = async (): Promise<void> => {
      while (!stopped.signal.aborted) await scene.start(8).exited;
    };
    const supervised = [supervise(), supervise()];
    await scene.finished();
    stopped.abort();
    await scene.stop();
    await Promise.all(supervised);
    const names = Object.keys(all);
    const states = await Promise.all(
      names.map(async (name) => {
        const { document } = (await scene.client.entry(scene.queue, name)) ?? {};
        return [name, (document as Task | undefined)?.state];
      }),
    );
    expect(states).toEqual(names.map((name) => [name, name === "e10" ? "dead" : "done"]));
    const given = await scene.client.entry(scene.queue, "e10");
    expect(given).toMatchObject({ document: { retry: { attempts: limit, at: null } } });
    const { counts, reports } = scene.handlings;
    expect(counts.get("e10")).toBeGreaterThanOrEqual(limit);
    expect(counts.get("e10")).toBeLessThanOrEqual(limit + MORE);
    expect(reports.filter((one) => one.startsWith("UNANSWERED"))).toEqual([
      "UNANSWERED e10 e10 was given up. The process of the director ended during the attempt.",
    ]);
  },
);
