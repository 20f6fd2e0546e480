import { mkdir, mkdtemp, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import type { System } from "@cairn/engine";
import { levelProvider } from "@cairn/kv";
import { expect, onTestFinished, test } from "vitest";
import { createSystem } from "../src/create-system.ts";
import { configOf, problemsOf, settingsOf } from "./support/read.ts";

const DAY = 86_400_000;

async function systemWith(kvStore: string): Promise<System> {
  return await createSystem(await configOf({ edn: `{:cairn/index-store {:kv-store ${kvStore}}}` }));
}

test.each([
  ["{}", DAY],
  ["{:scrub-every nil}", DAY],
  ['{:scrub-every "PT6H"}', DAY / 4],
  ["{:scrub-every (Duration/ofDays 7)}", 7 * DAY],
  ["{:scrub-every :never}", undefined],
  ['{:scrub-every "never"}', undefined],
  ["cairn.memory/->kv-store", DAY],
])("scrub-every of the kv-store %s", async (edn, expected) => {
  expect((await systemWith(edn)).scrubEvery).toBe(expected);
});

test.each([
  ["{}", true],
  ["{:attach nil}", true],
  ["{:attach false}", false],
  ["{:cairn/module cairn.memory/->kv-store :attach false}", false],
])("attach of the kv-store %s", async (edn, expected) => {
  expect((await systemWith(edn)).attach).toBe(expected);
});

test("a custom key-value store also has scrub-every and attach", async () => {
  const kvStore = { "cairn/module": () => levelProvider(), "scrub-every": "never", attach: false };
  const config = await configOf({ object: { "cairn/index-store": { "kv-store": kvStore } } });
  const system = await createSystem(config);
  expect(system.scrubEvery).toBeUndefined();
  expect(system.attach).toBe(false);
});

test("an attach that is not a boolean is refused", async () => {
  const json = JSON.stringify({ "cairn/index-store": { "kv-store": { attach: "never" } } });
  expect(await problemsOf({ json })).toMatchObject([{ path: ["cairn/index-store", "kv-store", "attach"] }]);
});

test("a scrub-every that is neither a duration nor never is refused", async () => {
  for (const wrong of ["often", "PT0S", 0]) {
    const json = JSON.stringify({ "cairn/index-store": { "kv-store": { "scrub-every": wrong } } });
    expect(await problemsOf({ json })).toMatchObject([
      { path: ["cairn/index-store", "kv-store", "scrub-every"] },
    ]);
  }
});

test("scrub-every is printed as a duration or as never", async () => {
  const name = "cairn/index-store > kv-store > scrub-every";
  expect(settingsOf(await configOf({}))[name]?.[0]).toBe("P1D");
  const edn = "{:cairn/index-store {:kv-store {:scrub-every :never}}}";
  expect(settingsOf(await configOf({ edn }))[name]?.[0]).toBe("never");
});

test.each([
  ["directly", "index/rebuild/log"],
  ["through a link to db-dir", "linked/staging/log"],
  ["through a link into it", "inner"],
])("a log in a folder that the node empties is refused: %s", async (_how, place) => {
  const cwd = await mkdtemp(path.join(tmpdir(), "cairn-linked-"));
  onTestFinished(() => rm(cwd, { recursive: true, force: true }));
  await symlink("index", path.join(cwd, "linked"));
  await symlink(path.join(cwd, "linked/live/log"), path.join(cwd, "inner"));
  const json = JSON.stringify({
    "cairn/tx-log": { path: place },
    "cairn/index-store": { "kv-store": { "db-dir": "index" } },
  });
  const refused = [
    { path: ["cairn/tx-log", "path"], message: expect.stringContaining("belongs to the index") },
  ];
  // The folders may not exist yet.
  expect(await problemsOf({ json, cwd })).toMatchObject(refused);
  await mkdir(path.join(cwd, "index/live"), { recursive: true });
  expect(await problemsOf({ json, cwd })).toMatchObject(refused);
});
