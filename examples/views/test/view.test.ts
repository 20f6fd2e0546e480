import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { pino } from "pino";
import { afterEach, beforeEach, expect, it } from "vitest";
import { run } from "../src/view.ts";

let folder = "";
let logged: string[] = [];
const logger = pino({ level: "info" }, { write: (line) => void logged.push(line) });
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "cairn-views-"));
  logged = [];
});
afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

const builds = (): number => logged.filter((line) => line.includes('"building the index"')).length;

it("the first node builds the view, and the second one joins with it", { tags: "rest/slow" }, async () => {
  const options = { cwd: import.meta.dirname, logger };
  const before = today();
  const ofA = await run("a", folder, options);
  expect(builds()).toBe(1);
  const ofB = await run("b", folder, options);
  expect(builds()).toBe(1);
  if (before !== today()) return;
  expect(ofA).toEqual([[["a"]], [[before, 1]]]);
  expect(ofB).toEqual([[["a"], ["b"]], [[before, 2]]]);
});

function today(): string {
  return new Date().toISOString().slice(0, 10);
}
